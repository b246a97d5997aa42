"""Dependencies point one way, no modules import each other in a circle, and files and functions stay short."""

import ast

import pytest

from tests.structure import cycles, functions, imports, modules, parsed

# What each package may import besides itself, and what these may import in turn: the layers of docs/contributing.md.
LAYERS = {
    "ser_nnunet": set(),  # version, errors
    "ser_nnunet.utils": {"ser_nnunet"},
    "ser_nnunet.runtime": {"ser_nnunet.utils"},  # travels with every exported model: tests/runtime/test_isolation.py
    "ser_nnunet.network": {"ser_nnunet.utils"},
    "ser_nnunet.sam": {"ser_nnunet.network"},
    "ser_nnunet.nnunet": {"ser_nnunet.utils"},
    "ser_nnunet.export": {"ser_nnunet.runtime", "ser_nnunet.network", "ser_nnunet.evaluation.report"},
    "ser_nnunet.training": {"ser_nnunet.sam", "ser_nnunet.nnunet"},
    "ser_nnunet.trainers": {"ser_nnunet.training"},
    "ser_nnunet.dataset_conversion.core": {"ser_nnunet.nnunet"},
    "ser_nnunet.dataset_conversion": {"ser_nnunet.dataset_conversion.core"},
    "ser_nnunet.evaluation": {"ser_nnunet.nnunet"},
    "ser_nnunet.evaluation.report": {"ser_nnunet.evaluation"},
    "ser_nnunet.verification": {"ser_nnunet.dataset_conversion", "ser_nnunet.evaluation.report"},
    "ser_nnunet.demo": {"ser_nnunet.evaluation.report", "ser_nnunet.sam", "ser_nnunet.dataset_conversion"},
    "ser_nnunet.benchmark": {"ser_nnunet.evaluation.report", "ser_nnunet.training"},
    "ser_nnunet.cluster": {"ser_nnunet.training"},
    "ser_nnunet.commands": {
        "ser_nnunet.benchmark",
        "ser_nnunet.cluster",
        "ser_nnunet.demo",
        "ser_nnunet.dataset_conversion",
        "ser_nnunet.export",
        "ser_nnunet.verification",
    },
    "ser_nnunet.cli": {"ser_nnunet.commands"},
}


def layer_of(module):
    """The longest name in LAYERS that the module's name begins with."""
    return max((layer for layer in LAYERS if f"{module}.".startswith(f"{layer}.")), key=len)


def below(layer):
    """Everything that a layer may import, directly or through the layers below it."""
    return {layer}.union(*(below(lower) for lower in LAYERS[layer]))


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_point_downwards(layer):
    allowed = below(layer) | {"ser_nnunet"}
    upward = [
        f"{module} imports {other}"
        for module in modules()
        if layer_of(module) == layer
        for other in sorted(imports(module))
        if layer_of(other) not in allowed
    ]
    assert upward == []


def test_no_modules_import_each_other_in_a_circle():
    assert cycles() == []


def imports_argparse(file):
    """Whether a file has `import argparse` or `from argparse import`, at the top or in a function."""
    for node in ast.walk(parsed(file)):
        if isinstance(node, ast.Import) and any(alias.name == "argparse" for alias in node.names):
            return True
        if isinstance(node, ast.ImportFrom) and node.module == "argparse" and not node.level:
            return True
    return False


def test_only_the_command_line_imports_argparse():
    users = [name for name, file in modules().items() if imports_argparse(file)]
    assert "ser_nnunet.cli" in users
    assert [name for name in users if layer_of(name) not in ("ser_nnunet.commands", "ser_nnunet.cli")] == []


def test_module_names_are_unique():
    """Two modules of one name in different packages cannot be told apart in an editor's tabs or a traceback."""
    names = {}
    for module, file in modules().items():
        if file.name != "__init__.py":
            names.setdefault(file.stem, []).append(module)
    assert {name: same for name, same in names.items() if len(same) > 1} == {}


def test_few_private_functions_are_used_only_once():
    every = list(functions())
    once = [function for function in every if function.is_single_use_helper]
    assert len(once) / len(every) < 0.12


def test_functions_stay_below_fifty_lines():
    assert [f"{each.module}.{each.name} {each.lines}" for each in functions() if each.lines > 50] == []
