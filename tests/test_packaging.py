"""The wheel holds everything that a user needs, the metadata agree, and the code is formatted and linted."""

import re
import subprocess
import sys
import zipfile
from email.parser import Parser

import pytest

import ser_nnunet
from tests.conftest import REPOSITORY
from tests.sources import copy_repository, repository_files

MAPPED = {"ser_nnunet.trainers": "trainers", "ser_nnunet.dataset_conversion": "dataset_conversion"}
PLACEHOLDER = re.compile(r"@@|\b(?:TODO|FIXME|TBD|XXX|[Ll]orem ipsum)\b|\b[A-Z]{4,}-[A-Z]{4,}\b")  # as in TABLE-HERE


def run(*command, **settings):
    done = subprocess.run(command, capture_output=True, text=True, **{"cwd": REPOSITORY, **settings})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel built from a copy of the sources, so that no build folder is left in the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    copy_repository(folder / "source")
    command = ["-m", "build", "--wheel", "--no-isolation", "--outdir", folder, folder / "source"]
    run(sys.executable, *map(str, command))
    return next(folder.glob("*.whl"))


def expected_files():
    """Every module, template and marker that a user needs, by its place in the wheel."""
    for package, folder in {**MAPPED, "ser_nnunet": "ser_nnunet"}.items():
        for name in repository_files(folder):
            yield f"{package.replace('.', '/')}/{name.removeprefix(folder + '/')}"


@pytest.mark.slow
def test_the_wheel_holds_every_file_and_nothing_else(wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == set(expected_files())
    assert {"ser_nnunet/trainers/SERTrainer.py", "ser_nnunet/evaluation/report/report.html.j2"} <= names


@pytest.mark.slow
def test_the_metadata_name_python_versions_and_extras(wheel):
    archive = zipfile.ZipFile(wheel)
    (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = Parser().parsestr(archive.read(name).decode())
    classifiers = metadata.get_all("Classifier")
    assert {f"Programming Language :: Python :: 3.{minor}" for minor in (10, 11, 12, 13)} <= set(classifiers)
    assert metadata["Requires-Python"] == ">=3.10"
    assert set(metadata.get_all("Provides-Extra")) >= {"sam", "demo", "test", "docs"}
    assert any(url.startswith("Paper, https://doi.org/") for url in metadata.get_all("Project-URL"))
    assert ("Typing :: Typed" in classifiers) == (REPOSITORY / "ser_nnunet" / "py.typed").is_file()


@pytest.mark.slow
def test_trainers_and_converters_work_from_the_wheel(wheel, tmp_path):
    run(sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(tmp_path), str(wheel))
    code = (
        "from ser_nnunet.dataset_conversion import registry\n"
        "from ser_nnunet.nnunet.trainers import trainers_folder\n"
        "print(registry.__file__)\nprint(trainers_folder())"
    )
    env = {"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"}
    output = run(sys.executable, "-c", code, cwd=tmp_path, env=env)
    expected = [tmp_path / "ser_nnunet/dataset_conversion/registry.py", tmp_path / "ser_nnunet/trainers"]
    assert output.split() == [str(path) for path in expected]


def test_the_version_is_the_same_everywhere():
    tomllib = pytest.importorskip("tomllib", reason="tomllib comes with Python 3.11")
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert project["version"] == ser_nnunet.__version__
    assert f"## [{project['version']}]" in (REPOSITORY / "CHANGELOG.md").read_text()
    assert f"version: {project['version']}" in (REPOSITORY / "CITATION.cff").read_text()


def test_no_page_holds_a_placeholder():
    found = {
        name: PLACEHOLDER.findall((REPOSITORY / name).read_text(encoding="utf-8")) for name in repository_files("*.md")
    }
    assert {name: words for name, words in found.items() if words} == {}


@pytest.mark.parametrize("text", ["Dice: TODO", "takes @@ minutes", "\nTABLE-HERE\n", "reaches XXX."])
def test_placeholders_are_recognised(text):
    assert PLACEHOLDER.search(text)


@pytest.mark.parametrize("text", ["nnUNet_raw/DatasetXXX_Name", "CC-BY-SA 4.0", "NIH Pancreas-CT", "PROMISE12"])
def test_names_are_not_taken_for_placeholders(text):
    assert not PLACEHOLDER.search(text)


def test_lint():
    run(sys.executable, "-m", "ruff", "check", ".")


def test_format():
    run(sys.executable, "-m", "ruff", "format", "--check", ".")


def test_no_file_is_longer_than_400_lines():
    lengths = {name: len((REPOSITORY / name).read_text().splitlines()) for name in repository_files("*.py")}
    assert {name: count for name, count in lengths.items() if count > 400} == {}
