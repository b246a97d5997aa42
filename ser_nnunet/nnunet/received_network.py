"""Which network the plans of a received model name: nnU-Net imports and calls it, so it may be any function."""

from __future__ import annotations

import pydoc
import re
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

OWN_PACKAGES = ("ser_nnunet", "nnunetv2", "dynamic_network_architectures")
LAYER_PACKAGES = ("torch.nn.", *(f"{package}." for package in OWN_PACKAGES))
EARLIER_NETWORKS = ("PlainConvUNet", "ResidualEncoderUNet")  # by which nnU-Net's plans before 2.4 name its U-Nets
DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", re.ASCII)


def examine_networks(configurations: dict[str, Any]) -> Iterator[tuple[bool, str]]:
    """Say of each network that plans name whether it is one of nnU-Net's or ours, and installed.

    Of all configurations: a checkpoint, which isn't loaded here, says which of them a prediction uses.

    Args:
        configurations: of plans.json.

    Raises:
        KeyError, TypeError, AttributeError, ValueError: these are no configurations, or none has a network.
    """
    found: dict[tuple[bool, str], None] = {}
    for configuration in configurations.values():
        if "architecture" in configuration:
            found |= dict.fromkeys(_examine_architecture(configuration["architecture"]))
        elif "UNet_class_name" in configuration:
            name = configuration["UNet_class_name"]
            is_known = name in EARLIER_NETWORKS
            found[is_known, f"{name} {'is here' if is_known else 'is unknown'}"] = None
    if not found:
        raise ValueError("no configuration names a network")
    yield from found


def _examine_architecture(architecture: dict[str, Any]) -> Iterator[tuple[bool, str]]:
    network = architecture["network_class_name"]
    package = str(network).partition(".")[0]
    if package not in OWN_PACKAGES:
        if not package or find_spec(package) is None:
            yield False, f"{network} is not installed"
        else:
            yield False, f"a prediction runs {network}, no network of nnU-Net's or ser-nnunet's: see what it does first"
    elif not _is_module(network, OWN_PACKAGES):
        yield False, f"{network} is not installed, or no network"
    else:
        yield True, f"{network} is here"
    for name in architecture.get("_kw_requires_import") or ():
        layer = architecture["arch_kwargs"][name]
        if layer is not None and not _is_module(layer, LAYER_PACKAGES):
            yield False, f"a prediction imports {layer} for its {name}, no layer of torch's: see what it does first"


def _is_module(name: Any, packages: tuple[str, ...]) -> bool:
    """Return whether a dotted name is a `torch.nn.Module` class of these packages; others are not imported."""
    from torch import nn  # slow

    if not isinstance(name, str) or not DOTTED.fullmatch(name) or not name.startswith(packages):
        return False
    try:
        found = pydoc.locate(name)
    except pydoc.ErrorDuringImport:
        return False
    return isinstance(found, type) and issubclass(found, nn.Module) and found.__module__.startswith(packages)
