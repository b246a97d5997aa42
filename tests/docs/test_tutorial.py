"""The tutorial notebook runs from its first to its last cell, and its commands exist."""

import ast
import json
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import REPOSITORY
from tests.docs.test_examples import test_own_commands_accept_their_arguments as check_own_command

NOTEBOOK = REPOSITORY / "docs" / "tutorial.ipynb"


def cells(kind):
    content = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == kind]


def test_the_notebook_runs_from_download_to_report(tmp_path, monkeypatch):
    pytest.importorskip("nilearn")
    monkeypatch.chdir(tmp_path)
    namespace, shown = {"__name__": "notebook"}, None
    for number, text in enumerate(cells("code"), start=1):
        tree = ast.parse(text)
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None  # what a notebook displays
        exec(compile(tree, f"cell {number}", "exec"), namespace)
        if last is not None:
            shown = eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), namespace)
    assert {"report.html", "cases.png", "evaluation.json", "comparison.csv"} < set(shown)
    dice = namespace["evaluation"].cases["Dice"]
    assert np.isfinite(dice).all() and dice.gt(0).all()  # the thresholds find lesions
    assert {file.name for file in Path("nnUNet_raw").iterdir()} == {"Dataset501_MSLesSeg"}


def test_the_notebooks_commands_take_the_options_that_are_shown(capsys):
    lines = [
        line.split() for text in cells("markdown") for line in text.splitlines() if line.startswith("    ser-nnunet")
    ]
    assert {words[1] for words in lines} == {"convert", "evaluate", "report"}
    for words in lines:
        check_own_command("tutorial.ipynb", words, capsys)


def test_the_notebook_is_stored_without_outputs():
    content = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert content["nbformat"] == 4 and not any(cell.get("outputs") for cell in content["cells"])
