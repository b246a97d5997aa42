"""Hostile inputs x commands: a message that names the file, exit status 2, nothing half-written, nothing changed."""

import os
import signal
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from ser_nnunet.cli import main
from ser_nnunet.utils.hashing import file_sha256
from tests.dataset_conversion.builders import LABEL, msd_prostate, multisite_prostate, pansegdata
from tests.evaluation.cohort import random_label_map, write_cohort, write_volume
from tests.hostile import IMAGES, JSONS
from tests.verification.samples import write_mri

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX pipes, devices and links")
SECONDS = 20
NO_FILES = ("a pipe", "an endless device", "a folder", "a link to nothing", "a link to itself")
FEW = ("empty", "a flipped bit", "declares 1000^3", "a pipe")
"""For the further places of a command, which go through the same door."""


@pytest.fixture(autouse=True)
def deadline():
    """End a command that waits for a pipe or reads without end."""

    def stop(number, frame):
        raise TimeoutError(f"the command was still running after {SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def snapshot(folder: Path) -> dict[str, str]:
    return {str(path): file_sha256(path) for path in folder.rglob("*") if path.is_file() and not path.is_symlink()}


def assert_refused(capsys, status: int, name: str) -> None:
    shown = capsys.readouterr().err
    assert status == 2, shown
    assert name in shown and "unexpected" not in shown and "Traceback" not in shown, shown
    assert len(shown) < 5000


@pytest.fixture
def cohort(tmp_path):
    arrays = {name: random_label_map(seed) for seed, name in enumerate("ab")}
    folder = write_cohort(tmp_path / "cohort", arrays, {name: np.roll(array, 1) for name, array in arrays.items()})
    for name in arrays:
        write_volume(folder / "imagesTr" / f"{name}_0000.nii.gz", random_label_map(5).astype(np.float32))
    return folder


def evaluate(cohort, out):
    arguments = ["-ref", cohort / "labelsTr", "-pred", cohort / "pred0", "-o", out, "-np", "1"]
    return main(["evaluate", *map(str, arguments), "--metrics", "overlap", "--bootstrap", "100"])


@pytest.mark.parametrize(("place", "kind"), [*product(["pred0"], IMAGES), *product(["labelsTr"], FEW)])
def test_evaluate_refuses_the_segmentation(cohort, tmp_path, capsys, kind, place):
    IMAGES[kind](cohort / place / "b.nii.gz")
    before = snapshot(cohort)
    status = evaluate(cohort, tmp_path / "out")
    assert_refused(capsys, status, f"{place}/b.nii.gz")
    assert snapshot(cohort) == before and not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", JSONS)
def test_evaluate_refuses_the_dataset_json(cohort, tmp_path, capsys, kind):
    JSONS[kind](cohort / "dataset.json")
    status = evaluate(cohort, tmp_path / "out")
    assert_refused(capsys, status, "dataset.json")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", JSONS)
def test_report_refuses_the_evaluation(cohort, tmp_path, capsys, kind):
    assert evaluate(cohort, tmp_path / "out") == 0
    capsys.readouterr()
    JSONS[kind](tmp_path / "out" / "evaluation.json")
    status = main(["report", str(tmp_path / "out")])
    assert_refused(capsys, status, "evaluation.json")
    assert not (tmp_path / "out" / "report.html").exists()


@pytest.mark.parametrize(
    ("place", "kind"),
    [*product(["imagesTr/b_0000.nii.gz"], (*FEW, "a link to nothing")), ("labelsTr/b.nii.gz", "cut in the middle")],
)
def test_report_refuses_the_image_that_it_draws(cohort, tmp_path, capsys, kind, place):
    assert evaluate(cohort, tmp_path / "out") == 0
    capsys.readouterr()
    IMAGES[kind](cohort / place)
    status = main(["report", str(tmp_path / "out"), "--pictures", "0", "--cases", "b"])
    if kind in NO_FILES:
        assert status == 0, "a page without this image"
        return
    assert_refused(capsys, status, place)
    assert not (tmp_path / "out" / "report.html").exists()


@pytest.fixture
def conversions(tmp_path, monkeypatch):
    for name in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{name}", str(tmp_path / "nnunet" / name))
    return tmp_path / "nnunet"


@pytest.mark.parametrize(("role", "kind"), [*product(["T2"], IMAGES), *product([LABEL], FEW)])
def test_convert_refuses_the_file(tmp_path, conversions, capsys, kind, role):
    sample = pansegdata(tmp_path / "source", "T2")
    file = sample.files[sample.cases[0], role]
    IMAGES[kind](file)
    before = snapshot(sample.source)
    choice = ["--channels", "T2", "--allow-partial", "-np", "1"]
    status = main(["convert", "pansegdata", str(sample.source), "-d", "701", *choice])
    assert_refused(capsys, status, file.name if kind != "a folder" else sample.cases[0])
    assert snapshot(sample.source) == before and not conversions.exists()


@pytest.mark.parametrize("kind", JSONS)
def test_convert_refuses_the_dataset_json(tmp_path, conversions, capsys, kind):
    sample = msd_prostate(tmp_path / "source")
    JSONS[kind](sample.source / "dataset.json")
    status = main(["convert", "msd", str(sample.source), "-d", "701", "-np", "1"])
    assert_refused(capsys, status, "dataset.json")
    assert not conversions.exists()


VERIFIED = (*FEW, *NO_FILES, "lacks its checksum", "decompresses to far more", "nine axes")


@pytest.mark.parametrize(
    ("place", "kind"), [*product(["imagesTr/P2_a_0001.nii.gz"], VERIFIED), *product(["labelsTr/P2_a.nii.gz"], FEW)]
)
def test_verify_reports_the_file_and_goes_on(tmp_path, capsys, kind, place):
    folder = write_mri(tmp_path / "Dataset700_Sample")
    (folder / "labelsTr/P3_a.nii.gz").unlink()
    IMAGES[kind](folder / place)
    before = snapshot(folder)
    assert main(["verify", "-d", str(folder), "-np", "1", "--html", str(tmp_path / "page.html")]) == 1
    shown = capsys.readouterr().out
    assert Path(place).name in shown and "image without label  P3_a" in shown and len(shown) < 5000
    assert snapshot(folder) == before


@pytest.mark.parametrize("kind", [kind for kind in JSONS if kind not in NO_FILES])
def test_verify_refuses_the_folds(tmp_path, capsys, kind):
    folder = write_mri(tmp_path / "Dataset700_Sample")
    JSONS[kind](folder / "splits_final.json")
    status = main(["verify", "-d", str(folder), "-np", "1"])
    assert_refused(capsys, status, "splits_final.json")


@pytest.mark.parametrize(
    ("command", "name"),
    [
        *product(("evaluate", "convert", "report", "demo"), ("a file", "below a file")),
        *product(("evaluate", "convert", "report"), ("a link to nothing",)),  # the demo makes the link's target
    ],
)
def test_an_output_that_cannot_be_written_is_refused(cohort, tmp_path, monkeypatch, capsys, command, name):
    (tmp_path / "file").write_text("precious")
    (tmp_path / "link").symlink_to(tmp_path / "absent" / "deep")
    place = tmp_path / {"a file": "file", "below a file": "file/below", "a link to nothing": "link"}[name]
    if command == "evaluate":
        status = evaluate(cohort, place)
    elif command == "convert":
        monkeypatch.setenv("nnUNet_raw", str(place))
        sample = multisite_prostate(tmp_path / "source")
        status = main(["convert", "multisite-prostate", str(sample.source), "-d", "701", "-np", "1", "--allow-partial"])
    elif command == "report":
        assert evaluate(cohort, tmp_path / "out") == 0
        target = place / "page.html"
        status = main(["report", str(tmp_path / "out"), "--pictures", "0", "-o", str(target)])
    else:
        status = main(["demo", "--folder", str(place)])
    assert_refused(capsys, status, place.name)
    assert (tmp_path / "file").read_text() == "precious" and not (tmp_path / "absent").exists()
