"""`check-model` of a zip for nnU-Net that `ser-nnunet export --format nnunet` wrote: its code is compared, not run."""

import zipfile

import pytest

import ser_nnunet
from ser_nnunet.cli import main
from ser_nnunet.export.nnunet_zip import export_to_nnunet
from ser_nnunet.nnunet.trainers import EXTERNAL_TRAINERS
from tests.export.model_folders import sernet, write_model_folder
from tests.export.test_export import rewrite
from tests.export.test_received_file import check
from tests.runtime.toy import plan

PLACE = "Dataset900_Toy/SERTrainerNoSAM__nnUNetPlans__2d"
NETWORK = f"{PLACE}/sernet_modules/ser_net.py"
TRAINER = f"{PLACE}/SERTrainerNoSAM.py"


@pytest.fixture(scope="module")
def model_zip(tmp_path_factory):
    place = tmp_path_factory.mktemp("trained") / "SERTrainerNoSAM__nnUNetPlans__2d"
    folder = write_model_folder(place, plan((32, 32), architecture=sernet((32, 32))), "SERTrainerNoSAM")
    export_to_nnunet(folder, place.parent / "model.zip")
    return place.parent / "model.zip"


def appended(model_zip, target, *parts):
    """A copy of the zip with further parts, (name, content)."""
    with zipfile.ZipFile(rewrite(model_zip, target, lambda name, part: part), "a") as archive:
        for name, content in parts:
            archive.writestr(zipfile.ZipInfo(name), content)
    return target


def test_a_zip_as_it_was_exported_is_fine_packed_and_unpacked(model_zip, tmp_path, capsys):
    with zipfile.ZipFile(model_zip) as archive:
        archive.extractall(tmp_path)
    (tmp_path / PLACE / "SERNET.md").write_text("# What it is")
    for place in (model_zip, tmp_path / PLACE):
        status, shown = check(place, capsys)
        assert status == 0 and "PROBLEM" not in shown, shown
        assert f"that of ser-nnunet {ser_nnunet.__version__}, which is installed here" in shown
        assert "SERTrainerNoSAM is brought along" in shown and "no code but that of ser-nnunet found" in shown


def test_a_zip_of_nnunets_own_network_is_fine_and_holds_no_code(model_folder, tmp_path, capsys):
    export_to_nnunet(model_folder, tmp_path / "model.zip")
    status, shown = check(tmp_path / "model.zip", capsys)
    assert status == 0 and "model_card.html forbids" in shown and "no code found" in shown, shown


@pytest.mark.parametrize("name", [NETWORK, TRAINER, f"{PLACE}/sernet_modules/__init__.py"])
def test_a_changed_module_is_named_and_not_run(model_zip, tmp_path, capsys, name):
    code = f"open({str(tmp_path / 'run')!r}, 'w')\n".encode()
    file = rewrite(model_zip, tmp_path / "model.zip", lambda each, part: part + code if each == name else part)
    status, shown = check(file, capsys)
    assert status == 1 and f"{name.removeprefix(PLACE + '/')} (1) differ from ser-nnunet" in shown, shown
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "name",
    [
        *("sernet_modules/more.py", "sernet_modules//ser_net.py", "sernet_modules/./ser_net.py", "torch.py"),
        *("sernet_modules/SER_NET.py", "sernet_modules/ser_net.pyc", "fold_0/x.so", "sernet_modules\\ser_net.py"),
        *("../../x.py", "fold_0/model_card.html"),
    ],
)
def test_a_further_file_that_could_be_code_is_a_problem(model_zip, tmp_path, capsys, name):
    status, shown = check(appended(model_zip, tmp_path / "model.zip", (f"{PLACE}/{name}", b"import os")), capsys)
    assert status == 1 and name.rpartition("/")[2].replace("\\", "/").rpartition("/")[2] in shown, shown


def test_a_second_spelling_of_the_plans_is_not_overlooked(model_zip, tmp_path, capsys):
    """Unpacked, it would replace the plans that were examined."""
    for number, name in enumerate((f"{PLACE}//plans.json", f"{PLACE}/./plans.json", f"{PLACE}/PLANS.json")):
        file = appended(model_zip, tmp_path / f"{number}.zip", (name, b"{}"))
        status, shown = check(file, capsys)
        assert status == 1 and "several files of one name" in shown, shown


def test_a_lacking_module_is_a_problem(model_zip, tmp_path, capsys):
    """Python would look for it elsewhere."""
    file = rewrite(model_zip, tmp_path / "model.zip", lambda name, part: None if name == NETWORK else part)
    status, shown = check(file, capsys)
    assert status == 1 and "sernet_modules/ser_net.py (1) differ" in shown


def test_code_of_another_version_cannot_be_compared(model_zip, tmp_path, capsys):
    ours, other = (f"ser-nnunet {version}".encode() for version in (ser_nnunet.__version__, "0.3.9"))
    change = lambda name, part: part.replace(ours, other) if name.endswith(".py") else part  # noqa: E731
    status, shown = check(rewrite(model_zip, tmp_path / "model.zip", change), capsys)
    expected = f"said to be of ser-nnunet 0.3.9, here is {ser_nnunet.__version__}: can't be compared"
    assert status == 1 and expected in shown, shown


def test_a_name_of_a_trainer_that_would_become_code_is_a_problem(model_zip, tmp_path, capsys):
    """The trainer's file is made from its name: with this one, the expected file would hold somebody's code."""
    name = "A(object): pass\nimport os\nclass B"
    with zipfile.ZipFile(model_zip) as archive:
        parts = {each: archive.read(each) for each in archive.namelist()}
    trainer = parts.pop(TRAINER).decode().replace("SERTrainerNoSAM", name)
    parts[f"{PLACE}/{name}.py"] = trainer.encode()
    with zipfile.ZipFile(tmp_path / "model.zip", "w") as copy:
        for each, part in parts.items():
            copy.writestr(each.replace("/SERTrainerNoSAM__", f"/{name}__"), part)
    status, shown = check(tmp_path / "model.zip", capsys)
    assert status == 1 and "that of ser-nnunet" not in shown


def test_a_card_without_the_policy_that_forbids_scripts_is_a_problem(model_zip, tmp_path, capsys):
    card = b'<meta name="generator" content="ser-nnunet model card"><script>alert(1)</script>'
    change = lambda name, part: card if name.endswith("model_card.html") else part  # noqa: E731
    status, shown = check(rewrite(model_zip, tmp_path / "model.zip", change), capsys)
    assert status == 1 and "a browser may run code in it" in shown


def test_an_installed_model_is_not_imported_even_if_nnunet_is_told_to_look_there(
    model_zip, tmp_path, capsys, monkeypatch
):
    with zipfile.ZipFile(model_zip) as archive:
        archive.extractall(tmp_path)
    folder = (tmp_path / PLACE).rename(tmp_path / "OfAColleague__nnUNetPlans__2d")
    (folder / "SERTrainerNoSAM.py").unlink()
    (folder / "OfAColleague.py").write_text(f"open({str(tmp_path / 'run')!r}, 'w')\nclass OfAColleague: pass\n")
    for external in (folder, tmp_path):
        monkeypatch.setenv(EXTERNAL_TRAINERS, str(external))
        status, shown = check(folder, capsys)
        assert status == 1 and "OfAColleague.py (1) differ" in shown and "OfAColleague is not found" in shown, shown
    assert not (tmp_path / "run").exists()


def test_a_damaged_part_is_a_problem_and_no_fault(model_zip, tmp_path, capsys):
    content = bytearray(model_zip.read_bytes())
    with zipfile.ZipFile(model_zip) as archive:
        for name in (NETWORK, f"{PLACE}/plans.json"):
            start = archive.getinfo(name).header_offset + 30 + len(name)
            content[start : start + 40] = b"\xff" * 40
    (tmp_path / "model.zip").write_bytes(content)
    status, shown = check(tmp_path / "model.zip", capsys)
    assert status == 1 and "sernet_modules/ser_net.py (1) differ" in shown and "no plans of nnU-Net's" in shown, shown


def test_predict_says_what_the_zip_is_for(model_zip, tmp_path, capsys):
    assert main(["predict", "-m", str(model_zip), "-i", str(tmp_path), "-o", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert "is a zip for nnU-Net" in message and "nnUNetv2_install_pretrained_model_from_zip" in message
    assert not (tmp_path / "out").exists()
