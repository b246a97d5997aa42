"""The wheel holds everything, and the code is formatted, linted and typed."""

import subprocess
import sys
import zipfile

import pytest

from tests.conftest import REPOSITORY

MAPPED = {"ser_nnunet.trainers": "trainers", "ser_nnunet.dataset_conversion": "dataset_conversion"}


def run(*command, **settings):
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, **settings)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel built from a copy of the sources, so that no build folder is left in the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    tracked = run("git", "ls-files", "--cached", "--others", "--exclude-standard").splitlines()
    for name in tracked:
        source, target = REPOSITORY / name, folder / "source" / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
    command = ["-m", "build", "--wheel", "--no-isolation", "--outdir", folder, folder / "source"]
    run(sys.executable, *map(str, command))
    return next(folder.glob("*.whl"))


def sources():
    """Every module that a user needs, by its place in the wheel."""
    for package, folder in {**MAPPED, "ser_nnunet": "ser_nnunet"}.items():
        for file in (REPOSITORY / folder).rglob("*"):
            if file.is_file() and file.suffix != ".pyc" and "__pycache__" not in file.parts:
                yield f"{package.replace('.', '/')}/{file.relative_to(REPOSITORY / folder).as_posix()}"


@pytest.mark.slow
def test_the_wheel_holds_every_file_and_no_top_level_trainers(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert set(sources()) - names == set()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"ser_nnunet"}


@pytest.mark.slow
def test_trainers_and_converters_work_from_the_wheel(wheel, tmp_path):
    run(sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(tmp_path), str(wheel))
    code = (
        "import ser_nnunet.commands.convert as converters, ser_nnunet.nnunet.trainers as environment\n"
        "print(converters.__file__)\nprint(environment.trainers_folder())"
    )
    env = {"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"}
    output = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True)
    expected = [tmp_path / "ser_nnunet/dataset_conversion/command.py", tmp_path / "ser_nnunet/trainers"]
    assert output.stdout.split() == [str(path) for path in expected], output.stderr
    assert (tmp_path / "ser_nnunet/trainers/SERTrainer.py").is_file()


def test_version_is_told_once():
    import ser_nnunet

    tomllib = pytest.importorskip("tomllib", reason="tomllib comes with Python 3.11")
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert project["version"] == ser_nnunet.__version__
    assert f"## [{project['version']}]" in (REPOSITORY / "CHANGELOG.md").read_text()
    assert f"version: {project['version']}" in (REPOSITORY / "CITATION.cff").read_text()


def test_no_page_holds_a_placeholder():
    pages = [REPOSITORY / name for name in run("git", "ls-files", "*.md").splitlines()]
    assert [page.name for page in pages if "@" * 2 in page.read_text() or "TODO" in page.read_text()] == []


def test_lint():
    run(sys.executable, "-m", "ruff", "check", ".")


def test_format():
    run(sys.executable, "-m", "ruff", "format", "--check", ".")


@pytest.mark.slow
def test_types():
    run(sys.executable, "-m", "mypy")


def test_no_file_is_longer_than_400_lines():
    tracked = run("git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py").splitlines()
    long = {name: count for name in tracked if (count := len((REPOSITORY / name).read_text().splitlines())) > 400}
    assert long == {}
