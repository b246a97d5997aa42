"""An exported file in a Python of its own, without torch, nnU-Net and the packages that prediction does not need."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from ser_nnunet.commands.predict import run_model_file
from ser_nnunet.runtime.model import Model
from tests.export.prediction_cases import interrupt, predict, write_case
from tests.export.test_export import rewrite

ISOLATED = """
import importlib.util, socket, sys

ABSENT = {"torch", "nnunetv2", "skimage", "tqdm", "nibabel", "pandas", "onnx", "scipy"}

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

found = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name in ABSENT else found(name, package)

def refuse(*arguments, **settings):
    raise OSError("no network")

sys.meta_path.insert(0, Absent())
socket.socket.connect = refuse
print("ISOLATED")
"""


def run_file(model_file, tmp_path, *arguments, isolate=ISOLATED):
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(isolate)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    command = [sys.executable, str(model_file), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)


def test_the_file_runs_by_itself_without_torch_nnunet_and_network(model_file, images, tmp_path):
    done = run_file(model_file, tmp_path, "-i", images, "-o", "masks", "--threads", 1)
    assert done.returncode == 0 and "ISOLATED" in done.stdout and "2 masks written" in done.stdout, done.stderr
    assert predict(model_file, images, tmp_path / "in process") == 0
    one, other = (sitk.ReadImage(tmp_path / each / "first.nii.gz") for each in ("masks", "in process"))
    assert (sitk.GetArrayFromImage(one) == sitk.GetArrayFromImage(other)).all()


def test_the_file_runs_with_nibabel_in_place_of_simpleitk(model_file, tmp_path):
    write_case(tmp_path / "in", "case", 1)
    write_case(tmp_path / "in", "other", 2, ending=".mha")
    smallest = ISOLATED.replace('"nibabel"', '"SimpleITK"')
    done = run_file(model_file, tmp_path, "-i", "in", "-o", "masks", "--threads", 1, isolate=smallest)
    assert done.returncode == 1 and "ISOLATED" in done.stdout and "1 mask written" in done.stdout, done.stderr
    assert "other_0000.mha: no NIfTI file, needs SimpleITK" in done.stderr
    assert predict(model_file, tmp_path / "in", tmp_path / "in process") == 0
    one, other = (sitk.ReadImage(tmp_path / each / "case.nii.gz") for each in ("masks", "in process"))
    assert (sitk.GetArrayFromImage(one) == sitk.GetArrayFromImage(other)).all()
    assert np.allclose(one.GetDirection(), other.GetDirection()) and np.allclose(one.GetOrigin(), other.GetOrigin())


def shear(file):
    """Let the axes of a NIfTI file not be orthogonal, which its sform alone can say."""
    found = nibabel.load(file)
    affine = found.affine.copy()
    affine[:, 1] = 0.8 * affine[:, 1] + 0.6 * affine[:, 0]  # of the same length: 1 mm
    sheared = nibabel.Nifti1Image(np.asarray(found.dataobj), affine, found.header)
    sheared.set_qform(None, 0)
    sheared.set_sform(affine, 1)
    sheared.to_filename(file)


def test_images_whose_axes_are_not_orthogonal_are_read_by_nibabel(model_file, tmp_path):
    """nnU-Net trains on them with NibabelIO; SimpleITK refuses them."""
    write_case(tmp_path / "in", "case", 1)
    assert predict(model_file, tmp_path / "in", tmp_path / "straight") == 0
    for file in (tmp_path / "in").iterdir():
        shear(file)
    assert predict(model_file, tmp_path / "in", tmp_path / "out") == 0
    one, other = (nibabel.load(tmp_path / each / "case.nii.gz") for each in ("straight", "out"))
    assert (np.asarray(one.dataobj) == np.asarray(other.dataobj)).all()
    assert np.allclose(other.affine, nibabel.load(tmp_path / "in" / "case_0000.nii.gz").affine)


def test_without_nibabel_images_whose_axes_are_not_orthogonal_are_refused_for_the_right_reason(model_file, tmp_path):
    write_case(tmp_path / "in", "case", 1)
    for file in (tmp_path / "in").iterdir():
        shear(file)
    done = run_file(model_file, tmp_path, "-i", "in", "-o", "masks")
    assert done.returncode == 1 and "ISOLATED" in done.stdout, done.stderr
    assert "case_0000.nii.gz: its axes are not orthogonal" in done.stderr
    assert "python -m pip install nibabel" in done.stderr and "truncated" not in done.stderr


def test_the_file_ends_with_a_sentence_and_a_status_as_the_command_does(
    model_file, images, tmp_path, monkeypatch, capsys
):
    (tmp_path / "file").touch()
    for output in ("file", "file/masks"):
        assert run_model_file(str(model_file), ["-i", str(images), "-o", str(tmp_path / output)]) == 2
        shown = capsys.readouterr().err
        assert shown.startswith(f"{model_file.name}: {tmp_path / 'file'}") and shown.count("\n") == 1
    monkeypatch.setattr(Model, "segment", interrupt)
    assert run_model_file(str(model_file), ["-i", str(images), "-o", str(tmp_path / "out")]) == 130
    assert capsys.readouterr().err == f"{model_file.name}: interrupted\n"


@pytest.mark.skipif(os.name == "nt", reason="POSIX pipes")
def test_the_file_ends_quietly_when_the_reader_of_its_output_has_gone(model_file):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, str(model_file), "--card"], stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_the_file_runs_its_own_runtime(model_file, tmp_path):
    """Not the one that happens to be installed: a changed part of the file shows."""

    def change(name, part):
        return part + b"\nraise SystemExit('own part')\n" if name.endswith("runtime/requirements.py") else part

    changed = rewrite(model_file, tmp_path / "changed.pyz", change)
    done = run_file(changed, tmp_path, "-i", "in", "-o", "out")
    assert done.returncode == 1 and "own part" in done.stderr


def test_the_file_names_missing_requirements(model_file, tmp_path):
    hidden = """
import importlib.util
found = importlib.util.find_spec
absent = {"SimpleITK", "nibabel", "onnxruntime", "openvino"}
importlib.util.find_spec = lambda name, package=None: None if name in absent else found(name, package)
"""
    done = run_file(model_file, tmp_path, "-i", "in", "-o", "out", isolate=hidden)
    assert done.returncode == 2
    assert "python -m pip install SimpleITK onnxruntime" in done.stderr and "Traceback" not in done.stderr


def test_the_package_of_the_file_is_the_repositorys(model_file):
    """No path of the machine it was made on, and no pickles, travel along."""
    with zipfile.ZipFile(model_file) as archive:
        names = archive.namelist()
        text = b"".join(archive.read(name) for name in names)
    assert {"__main__.py", "model/manifest.json", "ser_nnunet/runtime/model.py"} <= set(names)
    assert not [name for name in names if name.startswith(("ser_nnunet/export", "ser_nnunet/nnunet", "ser_nnunet/sam"))]
    assert str(Path(__file__).parent).encode() not in text and b"pickle" not in text.replace(b"unpickles", b"")
