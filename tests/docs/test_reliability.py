"""Every promise of docs/reliability.md is held by a test that exists."""

import ast
import re

from tests.conftest import REPOSITORY


def test_the_tests_that_the_page_names_exist():
    named = set(re.findall(r"`(test_\w+)`", (REPOSITORY / "docs" / "reliability.md").read_text(encoding="utf-8")))
    defined = {
        node.name
        for file in (REPOSITORY / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    }
    assert len(named) > 30
    assert sorted(named - defined) == []


def test_every_promise_in_a_table_names_a_test():
    lines = (REPOSITORY / "docs" / "reliability.md").read_text(encoding="utf-8").splitlines()
    start, end = lines.index("## What is never changed"), lines.index("## Models from elsewhere")
    rows = [
        line for line in lines[start:end] if line.startswith("| ") and not line.startswith(("| promise", "| input"))
    ]
    assert len(rows) > 15
    assert [row for row in rows if "`test_" not in row] == []
