"""`ser-nnunet check-model` of an exported file: what it holds, whether it was changed, and nothing of it is run."""

import hashlib
import json
import os
import zipfile

import pytest

from ser_nnunet.cli import main
from tests.export.test_export import rewrite


def check(place, capsys):
    status = main(["check-model", str(place)])
    shown = capsys.readouterr()
    return status, shown.out + shown.err


def forge(model_file, target, changed, content):
    """Change a part, and the manifest with it, as someone does who wants to deceive."""

    def change(name, part):
        if name == "model/manifest.json":
            manifest = json.loads(part)
            manifest["sha256"][changed] = hashlib.sha256(content).hexdigest()
            return json.dumps(manifest).encode()
        return content if name == changed else part

    return rewrite(model_file, target, change)


def test_an_exported_file_is_described_and_can_run(model_file, capsys):
    with zipfile.ZipFile(model_file) as archive:
        digest = hashlib.sha256(archive.read("model/manifest.json")).hexdigest()
    status, shown = check(model_file, capsys)
    assert status == 0, shown
    assert "nnUNetTrainer on Dataset900_Toy, 2d, 2 networks" in shown and "-> shell, core" in shown
    assert digest in shown and "can run here" in shown and "PROBLEM" not in shown


@pytest.mark.parametrize("name", ["model/recipe.json", "model/fold_1.onnx", "__main__.py"])
def test_a_changed_part_is_a_problem(model_file, tmp_path, capsys, name):
    file = rewrite(model_file, tmp_path / "model.pyz", lambda each, part: part + b" " if each == name else part)
    status, shown = check(file, capsys)
    assert status == 1 and f"{name}: SHA-256" in shown


def test_something_behind_the_zip_is_a_problem(model_file, tmp_path, capsys):
    (tmp_path / "model.pyz").write_bytes(model_file.read_bytes() + b"garbage")
    status, shown = check(tmp_path / "model.pyz", capsys)
    assert status == 1 and "something follows the zip" in shown


def test_code_of_somebody_else_is_named_and_not_run(model_file, tmp_path, capsys):
    code = f"open({str(tmp_path / 'run')!r}, 'w')".encode()
    file = forge(model_file, tmp_path / "model.pyz", "__main__.py", code)
    status, shown = check(file, capsys)
    assert status == 1 and "__main__.py (1) differ from ser-nnunet" in shown and "`python FILE` would run it" in shown
    assert not (tmp_path / "run").exists()


def test_a_part_that_grows_beyond_reason_is_a_problem_and_is_not_read(model_file, tmp_path, capsys):
    with zipfile.ZipFile(rewrite(model_file, tmp_path / "model.pyz", lambda name, part: part), "a") as archive:
        archive.writestr("model/zeros", bytes(100_000_000), zipfile.ZIP_DEFLATED)
    status, shown = check(tmp_path / "model.pyz", capsys)
    assert status == 1 and "MB become 100 MB" in shown
    assert main(["predict", "-m", str(tmp_path / "model.pyz"), "-i", str(tmp_path), "-o", str(tmp_path / "out")]) == 2
    assert "model/zeros would have 100 MB" in capsys.readouterr().err


def recipe_without_labels(model_file):
    with zipfile.ZipFile(model_file) as archive:
        return json.dumps({**json.loads(archive.read("model/recipe.json")), "labels": 3}).encode()


@pytest.mark.parametrize(
    "content", [b"[]", b"null", b'{"format": 1}', b"[" * 10_000, b'{"format": 1, "sha256": 3}', recipe_without_labels]
)
@pytest.mark.parametrize("name", ["model/recipe.json", "model/manifest.json"])
def test_json_of_another_shape_is_refused(model_file, tmp_path, capsys, name, content):
    content = content if isinstance(content, bytes) else content(model_file)
    if name == "model/manifest.json":
        file = rewrite(model_file, tmp_path / "model.pyz", lambda each, part: content if each == name else part)
    else:
        file = forge(model_file, tmp_path / "model.pyz", name, content)
    status, shown = check(file, capsys)
    assert status == 1 and "PROBLEM" in shown and "unexpected" not in shown
    assert main(["predict", "-m", str(file), "-i", str(tmp_path), "-o", str(tmp_path / "out")]) == 2
    assert "model.pyz: " in capsys.readouterr().err and not (tmp_path / "out").exists()


@pytest.mark.skipif(os.name == "nt", reason="POSIX pipes")
@pytest.mark.parametrize("command", ["check-model", "predict"])
def test_a_pipe_instead_of_the_file_is_refused_at_once(tmp_path, capsys, command):
    os.mkfifo(tmp_path / "model.pyz")
    options = {"check-model": [str(tmp_path / "model.pyz")], "predict": ["-m", str(tmp_path / "model.pyz")]}[command]
    images = ["-i", str(tmp_path), "-o", str(tmp_path / "out")] if command == "predict" else []
    assert main([command, *options, *images]) == 2
    assert "it is a pipe" in capsys.readouterr().err
