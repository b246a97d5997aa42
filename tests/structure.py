"""The structure of the sources: who imports whom, and how long files and functions are.

`python -m tests.structure` prints the figures; `test_structure.py` holds the rules that follow from them.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median

REPOSITORY = Path(__file__).resolve().parent.parent
ROOTS = {
    "ser_nnunet": "ser_nnunet",
    "trainers": "ser_nnunet.trainers",
    "dataset_conversion": "ser_nnunet.dataset_conversion",
}
SHORT = 10  # lines of a helper, signature included and docstring not, that usually belongs into its only caller


@cache
def modules(repository: Path = REPOSITORY) -> dict[str, Path]:
    """Return every module of the package by its import name."""
    found = {}
    for folder, package in ROOTS.items():
        for file in sorted((repository / folder).rglob("*.py")):
            parts = file.relative_to(repository / folder).with_suffix("").parts
            found[".".join([package, *(part for part in parts if part != "__init__")])] = file
    return found


@cache
def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def imports(name: str, repository: Path = REPOSITORY) -> set[str]:
    """Return the package's modules that a module imports anywhere: at the top, in functions, for the type checker."""
    known = modules(repository)
    package = name if known[name].name == "__init__.py" else name.rpartition(".")[0]
    found = set()
    for node in ast.walk(parsed(known[name])):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package.split(".")[: len(package.split(".")) + 1 - node.level]) if node.level else ""
            source = ".".join(filter(None, [base, node.module]))
            found |= {f"{source}.{alias.name}" if f"{source}.{alias.name}" in known else source for alias in node.names}
    return {each for each in found if each in known and each != name}


def cycles(repository: Path = REPOSITORY) -> list[list[str]]:
    """Return the groups of modules that import each other in a circle (strongly connected components)."""
    graph = {name: imports(name, repository) for name in modules(repository)}
    reachable = {name: _reachable(graph, name) for name in graph}
    groups = {
        frozenset({name} | {other for other in reachable[name] if name in reachable[other]})
        for name in graph
        if name in reachable[name]
    }
    return sorted(sorted(group) for group in groups)


def _reachable(graph: dict[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += graph[name]
    return seen


@dataclass(frozen=True)
class Function:
    """A function or method; `uses` counts where its name stands in the sources besides its definition."""

    module: str
    name: str
    lines: int
    uses: int

    @property
    def is_single_use_helper(self) -> bool:
        return self.name.startswith("_") and not self.name.startswith("__") and self.uses == 1


def functions(repository: Path = REPOSITORY) -> Iterator[Function]:
    """Yield all functions with their lines (decorators and docstring not counted)."""
    for module, file in modules(repository).items():
        words = Counter(re.findall(r"\w+", file.read_text(encoding="utf-8")))
        for node in ast.walk(parsed(file)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                text = node.body[0] if ast.get_docstring(node) else None
                lines = (node.end_lineno or 0) - node.lineno + 1
                lines -= (text.end_lineno or 0) - text.lineno + 1 if text else 0
                yield Function(module, node.name, lines, words[node.name] - 1)


def report(repository: Path = REPOSITORY) -> str:
    """Return the figures in words."""
    lengths = {name: len(file.read_text(encoding="utf-8").splitlines()) for name, file in modules(repository).items()}
    long = [count for count in lengths.values() if count > 1]
    every = list(functions(repository))
    single = [each for each in every if each.is_single_use_helper]
    circles = cycles(repository)
    return "\n".join(
        [
            f"files        {len(lengths)}, {sum(lengths.values())} lines; median {median(long):.0f}, longest "
            + ", ".join(f"{name} {count}" for name, count in Counter(lengths).most_common(3)),
            f"functions    {len(every)}; median {median(each.lines for each in every):.0f} lines, "
            f"{sum(each.lines > 40 for each in every)} above 40",
            f"helpers      {len(single)} ({len(single) / len(every):.0%}) private and used once; "
            f"{sum(each.lines <= SHORT for each in single)} of them have at most {SHORT} lines",
            f"circles      {len(circles)}" + "".join(f"; {len(circle)} modules: {circle}" for circle in circles),
        ]
    )


if __name__ == "__main__":
    place = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else REPOSITORY
    print(report(place))
    for function in functions(place):
        if function.is_single_use_helper and function.lines <= SHORT:
            print(f"  {function.module}.{function.name} ({function.lines} lines)")
