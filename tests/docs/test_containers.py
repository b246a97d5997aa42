"""The recipes for containers copy files that exist, install extras that exist, and build where the tools are."""

import re
import shutil
import subprocess

import pytest

from tests.conftest import REPOSITORY

FOLDER = REPOSITORY / "docs" / "containers"
CPU = "https://download.pytorch.org/whl/cpu"
COPIED = {
    "Dockerfile": re.compile(r"^COPY (.+) \S+$", re.MULTILINE),
    "ser-nnunet.def": re.compile(r"^    (\S+) /opt/ser-nnunet/", re.MULTILINE),
}


@pytest.mark.parametrize("name", COPIED)
def test_all_that_the_package_is_built_from_is_copied(name):
    text = (FOLDER / name).read_text(encoding="utf-8")
    copied = {word for words in COPIED[name].findall(text) for word in words.split()}
    project = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    mapped = set(re.findall(r'= "(\w+)"', project.partition("[tool.setuptools.package-dir]")[2].partition("[tool")[0]))
    assert copied == {"pyproject.toml", "README.md", "LICENSE", "ser_nnunet", *mapped}
    assert all((REPOSITORY / each).exists() for each in copied)


@pytest.mark.parametrize("name", COPIED)
def test_the_extras_and_the_environment_agree_with_the_package(name):
    text = (FOLDER / name).read_text(encoding="utf-8")
    project = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    (extras,) = re.findall(r"'\.\[(.+)\]'", text)
    assert all(f"\n{extra} = [" in project for extra in extras.split(","))
    (python,) = re.findall(r"python:(3\.\d+)-slim", text)
    assert f"nnUNet_extTrainer=/usr/local/lib/python{python}/site-packages/ser_nnunet/trainers" in text
    assert f"Python :: {python}" in project


def needs(*command):
    """Skip, and say so, where a tool is missing or doesn't answer."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"{' '.join(command)} fails: {(done.stderr or done.stdout).strip()[-200:]}")


@pytest.mark.slow
def test_the_docker_image_is_built_and_finds_its_trainers():
    needs("docker", "info")
    needs("docker", "pull", "python:3.12-slim")
    build = ["docker", "build", "-q", "-f", FOLDER / "Dockerfile", "--build-arg", f"TORCH_INDEX={CPU}", REPOSITORY]
    built = subprocess.run(list(map(str, build)), capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    command = ["docker", "run", "--rm", built.stdout.strip(), "ser-nnunet", "check"]
    shown = subprocess.run(command, capture_output=True, text=True).stdout
    assert "SERTrainerNoSAM" in next(line for line in shown.splitlines() if line.startswith("nnU-Net finds"))


@pytest.mark.slow
def test_the_apptainer_image_is_built_and_finds_its_trainers(tmp_path):
    needs("apptainer", "--version")
    image = tmp_path / "ser-nnunet.sif"
    build = ["apptainer", "build", "--build-arg", f"torch_index={CPU}", image, FOLDER / "ser-nnunet.def"]
    built = subprocess.run(list(map(str, build)), cwd=REPOSITORY, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    shown = subprocess.run(
        ["apptainer", "exec", str(image), "ser-nnunet", "check"], capture_output=True, text=True
    ).stdout
    assert "SERTrainerNoSAM" in next(line for line in shown.splitlines() if line.startswith("nnU-Net finds"))
