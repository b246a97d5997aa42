"""The examples of README.md and docs/: Python runs, commands exist and take the options that are shown."""

import contextlib
import io
import sys
from functools import cache
from importlib.metadata import entry_points

import pytest

from ser_nnunet.cli import build_parser
from ser_nnunet.demo.phantom import write_cohort
from tests.conftest import REPOSITORY
from tests.docs.markdown_pages import code_blocks, commands, pages

PYTHON_PAGES = [page for page in pages() if any(block.language == "python" for block in code_blocks(page))]
# The commands of contributing.md's recipes are run after their files have been written (test_recipes.py).
COMMANDS = [(place, words) for page in pages() if page.name != "contributing.md" for place, words in commands(page)]
OWN = [(place, words) for place, words in COMMANDS if words[0] == "ser-nnunet"]
NNUNET = [(place, words) for place, words in COMMANDS if words[0] != "ser-nnunet"]


@pytest.mark.parametrize("page", PYTHON_PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_python_examples_run(page, tmp_path, monkeypatch):
    """All blocks of a page share one namespace; files of recipes are only compiled (test_recipes.py writes them)."""
    monkeypatch.chdir(tmp_path)
    if "downloads/MSLesSeg" in page.read_text(encoding="utf-8"):
        pytest.importorskip("nilearn")
        (tmp_path / "raw").mkdir()
        monkeypatch.setenv("nnUNet_raw", str(tmp_path / "raw"))
        write_cohort("downloads/MSLesSeg", patients=2, test_patients=1, spacing=8.0, progress=False)
    namespace = {"__name__": "example"}
    for block in code_blocks(page):
        if block.language == "python":
            code = compile(block.text, block.place, "exec")
            if not block.title and not block.comment.startswith("not run"):
                exec(code, namespace)


@pytest.mark.parametrize(("place", "words"), OWN, ids=[place for place, _ in OWN])
def test_own_commands_accept_their_arguments(place, words, capsys):
    try:
        build_parser(words[1]).parse_args(words[1:])
    except SystemExit as stop:
        assert stop.code == 0, f"{place}: {capsys.readouterr().err}"


@pytest.mark.parametrize(("place", "words"), NNUNET, ids=[place for place, _ in NNUNET])
def test_nnunets_commands_exist_and_have_the_options(place, words):
    known = help_of(words[0]).replace(",", " ").replace("[", " ").replace("]", " ").split()
    options = [word for word in words[1:] if word.startswith("-") and not word[1:2].isdigit()]
    assert [option for option in options if option not in known] == [], place


@cache
def help_of(command):
    """What `command --help` prints, without the seconds that a new process needs to import torch."""
    (script,) = entry_points(group="console_scripts", name=command)
    output, arguments = io.StringIO(), sys.argv
    sys.argv = [command, "--help"]
    try:
        with contextlib.redirect_stdout(output), contextlib.suppress(SystemExit):
            script.load()()
    finally:
        sys.argv = arguments
    return output.getvalue()


def test_make_targets_exist():
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    lines = [line for page in pages() for block in code_blocks(page) for line in block.text.splitlines()]
    targets = {line.split()[1] for line in lines if line.startswith("make ")}
    assert targets and [target for target in targets if f"\n{target}:" not in makefile] == []


def test_an_unknown_option_is_found(capsys):
    with pytest.raises(AssertionError, match="--no-such-option"):
        test_own_commands_accept_their_arguments("", ["ser-nnunet", "report", "results", "--no-such-option"], capsys)
    with pytest.raises(AssertionError, match="--no-such-option"):
        test_nnunets_commands_exist_and_have_the_options("", ["nnUNetv2_predict", "--no-such-option"])
