"""A model folder becomes one file that predicts as the folder does, or is refused with every reason."""

import json
import zipfile
from importlib.metadata import version

import numpy as np
import pytest
import torch

from ser_nnunet.cli import main
from ser_nnunet.errors import UserError
from ser_nnunet.export.exporter import export_model
from ser_nnunet.export.fold_files import find_checkpoints
from ser_nnunet.export.model_folder import read_model_folder
from ser_nnunet.export.onnx_graph import check_onnx, to_onnx
from ser_nnunet.runtime.engine import load_network
from ser_nnunet.runtime.model_file import MANIFEST, open_model
from ser_nnunet.runtime.recipe import read_recipe
from tests.export.model_folders import sernet, unet, untie, write_model_folder
from tests.runtime.toy import REGIONS, plan

NETWORKS = {
    "SERNet": {"patch": (32, 32), "architecture": sernet((32, 32))},
    "U-Net": {"patch": (16, 12), "architecture": unet(2), "labels": REGIONS},
    "3D SERNet": {"patch": (16, 32, 32), "spacing": (1, 1, 1), "architecture": sernet((16, 32, 32))},
    "3D U-Net": {"patch": (8, 16, 12), "spacing": (1, 1, 1), "architecture": unet(3, 2)},
}


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_logits_are_torchs(tmp_path, kind, engine):
    pytest.importorskip(engine)
    folder = write_model_folder(tmp_path / "model", plan(**NETWORKS[kind]))
    model = read_model_folder(folder, None, "checkpoint_final.pth")
    ((_, network),) = model.networks()
    assert check_onnx(to_onnx(network, model.recipe), network, model.recipe, engine) < 1e-4


def test_a_graph_with_other_logits_is_refused(model_folder):
    model = read_model_folder(model_folder, ["0"], "checkpoint_final.pth")
    ((_, network),) = model.networks()
    onnx = to_onnx(network, model.recipe)
    untie(network)
    with pytest.raises(UserError, match="differ from torch's"):
        check_onnx(onnx, network, model.recipe)


def test_every_fold_keeps_its_own_weights(model_file):
    file = open_model(model_file)
    assert file.networks == ["model/fold_0.onnx", "model/fold_1.onnx"]
    tiles = np.ones((1, 2, 16, 12), np.float32)
    first, second = (load_network(file.read(name), 1)(tiles).copy() for name in file.networks)
    assert np.abs(first - second).max() > 0.1


def test_the_file_is_the_same_every_time(model_folder, model_file, tmp_path):
    again = export_model(model_folder, tmp_path / "again.pyz").path
    assert again.read_bytes() == model_file.read_bytes()


def test_the_recipe_and_its_provenance(model_folder, model_file):
    recipe = open_model(model_file).recipe
    assert recipe.channels == ("MR0", "MR1") and recipe.spacing == (1.2, 1.2) and recipe.patch_size == (16, 12)
    assert [each.use_mask for each in recipe.normalization] == [True, False]
    assert recipe.trained_on == {"spacing": [[3, 4], [1, 1], [1, 1.2]]}
    known = recipe.provenance
    assert (known["trainer"], known["folds"], known["epochs"]) == ("nnUNetTrainer", ["0", "1"], 12)
    assert known["data_licence"] == "CC BY 4.0" and known["versions"]["torch"] == version("torch")


def test_chosen_folds_and_checkpoints(model_folder, tmp_path):
    assert main(["export", str(model_folder), "-o", str(tmp_path / "one.pyz"), "-f", "1"]) == 0
    assert open_model(tmp_path / "one.pyz").networks == ["model/fold_1.onnx"]
    with pytest.raises(UserError) as caught:
        export_model(model_folder, tmp_path / "two.pyz", ["0", "7"], "checkpoint_best.pth")
    assert "fold_0/checkpoint_best.pth is missing" in str(caught.value) and "fold_7" in str(caught.value)
    assert not (tmp_path / "two.pyz").exists()


@pytest.mark.parametrize("folds", [["0_old"], ["0", "fold_0"], ["00"], ["../other"]])
def test_what_is_no_fold_is_refused_in_a_sentence(model_folder, folds):
    with pytest.raises(UserError, match=rf"^-f {folds[-1]}: expected numbers of folds, such as 0 1 2, or all$"):
        find_checkpoints(model_folder, folds, "checkpoint_final.pth")


def test_a_copy_of_a_fold_s_folder_is_no_fold(tmp_path):
    for name in ("fold_0", "fold_0_old", "fold_1", "fold_all", "fold_backup"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "checkpoint_final.pth").touch()
    for name in ("plans.json", "dataset.json"):
        (tmp_path / name).touch()
    assert list(find_checkpoints(tmp_path, None, "checkpoint_final.pth")) == ["0", "1"]
    for fold in (0, 1):
        (tmp_path / f"fold_{fold}" / "checkpoint_final.pth").unlink()
    assert list(find_checkpoints(tmp_path, None, "checkpoint_final.pth")) == ["all"]
    (tmp_path / "fold_all" / "checkpoint_final.pth").unlink()
    with pytest.raises(
        UserError, match=r"no fold_NUMBER/checkpoint_final\.pth or fold_all/checkpoint_final\.pth there"
    ):
        find_checkpoints(tmp_path, None, "checkpoint_final.pth")


def test_everything_that_is_unsupported_is_listed_at_once(tmp_path, capsys):
    planned = plan(
        (16, 12),
        schemes=("MyNormalization",),
        reader="Tiff3DIO",
        resampling="my_resampling",
        architecture=unet(2),
        preprocessor_name="MyPreprocessor",
        previous_stage="3d_lowres",
    )
    planned.plans["label_manager"] = "MyLabelManager"
    folder = tmp_path / "model"
    (folder / "fold_0").mkdir(parents=True)
    torch.save({"init_args": {"configuration": "2d"}}, folder / "fold_0" / "checkpoint_final.pth")
    (folder / "plans.json").write_text(json.dumps(planned.plans))
    (folder / "dataset.json").write_text(json.dumps(planned.dataset_json))
    assert main(["export", str(folder), "-o", str(tmp_path / "model.pyz")]) == 2
    message = capsys.readouterr().err
    for expected in (
        "2d is a cascade's stage, which needs the masks of 3d_lowres",
        "preprocessor_name MyPreprocessor: only DefaultPreprocessor",
        "label_manager MyLabelManager",
        "image_reader_writer Tiff3DIO: only SimpleITKIO",
        "normalisation MyNormalization: only nnU-Net's own",
        "resampling_fn_data my_resampling: only resample_data_or_seg_to_shape, resample_torch_fornnunet",
        "resampling_fn_probabilities my_resampling",
    ):
        assert expected in message
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [({"is_seg": False, "mode": "nearest"}, "mode nearest"), ({"is_seg": True}, "is_seg True")],
)
def test_torch_resampling_of_other_modes_is_refused(tmp_path, kwargs, message):
    planned = plan((16, 12), resampling="resample_torch_fornnunet", kwargs=kwargs, architecture=unet(2))
    with pytest.raises(UserError, match=message):
        read_model_folder(write_model_folder(tmp_path / "model", planned), None, "checkpoint_final.pth")


def test_int8_is_refused_with_what_it_costs(model_folder, tmp_path, capsys):
    assert main(["export", str(model_folder), "-o", str(tmp_path / "model.pyz"), "--precision", "int8"]) == 2
    assert "lost 0.018 of 0.681 Dice" in capsys.readouterr().err and not list(tmp_path.iterdir())


def make_foreign_files(folder):
    """A user's files: JSON, a page, a zip of other things, and one with a manifest that is none of a model."""
    (folder / "dataset.json").write_text('{"labels": {}}')
    (folder / "page").write_text("<html>my page")
    for name, part in (("masks.zip", "case.nii.gz"), ("other.zip", MANIFEST)):
        with zipfile.ZipFile(folder / name, "w") as archive:
            archive.writestr(part, "{}")


@pytest.mark.parametrize("form", ["pyz", "nnunet"])
@pytest.mark.parametrize("name", ["dataset.json", "page", "masks.zip", "other.zip"])
def test_a_users_file_is_not_replaced_by_a_model(model_folder, tmp_path, capsys, name, form):
    make_foreign_files(tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert main(["export", str(model_folder), "-o", str(tmp_path / name), "--format", form]) == 2
    printed = capsys.readouterr()
    assert f"{tmp_path / name}, where the model would be written, is another file" in printed.err
    assert "logits within" not in printed.out, "refused before the networks are exported"
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_a_users_model_and_card_are_named_at_once(model_folder, tmp_path):
    for name in ("lesions.pyz", "lesions.html"):
        (tmp_path / name).write_text("mine")
    with pytest.raises(
        UserError, match=r"(?s)lesions\.pyz, where the model would.*lesions\.html, where the model card"
    ):
        export_model(model_folder, tmp_path / "lesions.pyz")


def test_an_earlier_export_is_replaced_in_either_format(model_folder, model_file, tmp_path):
    target = tmp_path / "model.pyz"
    assert main(["export", str(model_folder), "-o", str(target), "-f", "1"]) == 0
    assert main(["export", str(model_folder), "-o", str(target), "--format", "nnunet"]) == 0
    assert main(["export", str(model_folder), "-o", str(target)]) == 0
    assert target.read_bytes() == model_file.read_bytes()


@pytest.mark.parametrize("what", ["absent", "empty"])
def test_folders_without_a_model_are_refused(tmp_path, what, capsys):
    folder = tmp_path / what
    if what == "empty":
        folder.mkdir()
    assert main(["export", str(folder), "-o", str(tmp_path / "model.pyz")]) == 2
    assert {"absent": "no such folder", "empty": "plans.json is missing"}[what] in capsys.readouterr().err


def test_a_trainer_that_nnunet_cannot_find_is_named(tmp_path):
    folder = write_model_folder(tmp_path / "model", plan((16, 12), architecture=unet(2)))
    file = folder / "fold_0" / "checkpoint_final.pth"
    torch.save({**torch.load(file, weights_only=False), "trainer_name": "MyTrainer"}, file)
    with pytest.raises(UserError, match=r"nnUNet_extTrainer.*MyTrainer"):
        read_model_folder(folder, None, "checkpoint_final.pth")


def rewrite(source, target, change):
    """Copy a zip with changed parts: `change(name, content) -> content`, or None to leave the part out."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = change(name, old.read(name))
            if content is not None:
                new.writestr(name, content)
    return target


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda name, part: part + b" " if name == "model/recipe.json" else part, r"recipe\.json: SHA-256"),
        (lambda name, part: None if name == "model/fold_1.onnx" else part, r"fold_1\.onnx: missing"),
        (lambda name, part: b"1" if name == "ser_nnunet/runtime/engine.py" else part, r"engine\.py: SHA-256"),
    ],
)
def test_tampered_files_are_refused(model_file, tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        open_model(rewrite(model_file, tmp_path / "model.pyz", change))


def test_added_parts_are_refused(model_file, tmp_path):
    with zipfile.ZipFile(rewrite(model_file, tmp_path / "model.pyz", lambda name, part: part), "a") as archive:
        archive.writestr("sitecustomize.py", "print('hello')")
    with pytest.raises(UserError, match=r"sitecustomize\.py: not part of the model"):
        open_model(tmp_path / "model.pyz")


@pytest.mark.parametrize("content", [b"", b"PK", b"no zip" * 100])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "model.pyz").write_bytes(content)
    with pytest.raises(UserError, match="ser-nnunet export"):
        open_model(tmp_path / "model.pyz")


def test_a_damaged_file_is_refused(model_file, tmp_path):
    content = bytearray(model_file.read_bytes())
    with zipfile.ZipFile(model_file) as archive:
        entry = archive.getinfo("model/fold_0.onnx")
    content[entry.header_offset + entry.compress_size // 2] ^= 0xFF
    (tmp_path / "model.pyz").write_bytes(content)
    with pytest.raises(UserError, match=r"model\.pyz: expected a file that `ser-nnunet export` wrote"):
        open_model(tmp_path / "model.pyz")


def test_recipes_of_another_format_are_refused():
    with pytest.raises(UserError, match=r"format 2, this version of the runtime reads 1"):
        read_recipe({"format": 2})
    with pytest.raises(UserError, match=r"lacks configuration, channels"):
        read_recipe({"format": 1})
