"""The Python files that a zip for nnU-Net brings: a trainer that builds the network, and the network's modules.

nnU-Net searches the folder in nnUNet_extTrainer for the trainer that a checkpoint names. The model's folder therefore
brings a trainer of that name, and the network's modules as they are here, in a package beside it.
"""

from __future__ import annotations

import keyword
import re
from importlib.resources import files
from pathlib import Path

import ser_nnunet
from ser_nnunet.export.output_files import CARD
from ser_nnunet.nnunet.received_code import KnownParts

NETWORK = "ser_nnunet.network.ser_net"

PACKAGE = "sernet_modules"
"""In the model's folder; not `ser_nnunet`, so that an installed plugin of another version changes nothing."""

IMPORT = re.compile(r"^from ser_nnunet\.(?:\w+\.)*(\w+) import", re.MULTILINE)
VERSION_IMPORT = "from ser_nnunet import __version__"

TRAINER = '''"""{name} for prediction by nnU-Net without the plugin it was trained with.

Written by ser-nnunet {version} (Apache-2.0). nnU-Net (2.8 or newer) finds it if nnUNet_extTrainer names this folder.
"""

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager

from {package}.ser_net import SERNet


class {name}(nnUNetTrainer):
    """Builds the network of the checkpoints in this folder."""

    def initialize(self) -> None:
        """Refuse training, which needs more than the network."""
        raise NotImplementedError(
            "this {name} only predicts: to train, install ser-nnunet and take this folder out of nnUNet_extTrainer"
        )

    @staticmethod
    def build_network_architecture(
        plans_manager: PlansManager,
        configuration_manager: ConfigurationManager,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = False,
    ) -> torch.nn.Module:
        """Return the network that the plans beside this file describe."""
        return SERNet(
            num_input_channels,
            num_output_channels,
            deep_supervision=enable_deep_supervision,
            **configuration_manager.network_arch_init_kwargs,
        )
'''


def python_files(trainer: str) -> dict[str, bytes]:
    """Return the Python files of a model with SERNet: names below the model's folder, and contents.

    Args:
        trainer: the name of its class.

    Raises:
        ValueError: no class can have this name, which may be a stranger's and would become part of the code.
    """
    if not re.fullmatch(r"[A-Za-z_]\w*", trainer, re.ASCII) or keyword.iskeyword(trainer):
        raise ValueError(f"{trainer!r} is no name of a class")
    package = Path(ser_nnunet.__file__).parent
    sources: dict[str, bytes] = {}
    waiting = [NETWORK]
    while waiting:
        module = waiting.pop()
        text = package.joinpath(*module.split(".")[1:]).with_suffix(".py").read_text(encoding="utf-8")
        origin = f"# {module} of ser-nnunet {ser_nnunet.__version__}, Apache-2.0\n"
        file = f"{PACKAGE}/{module.rpartition('.')[2]}.py"
        text = text.replace(VERSION_IMPORT, f'__version__ = "{ser_nnunet.__version__}"')
        sources[file] = (origin + IMPORT.sub(rf"from {PACKAGE}.\1 import", text)).encode()
        found = [match[0].split()[1] for match in IMPORT.finditer(text)]
        waiting += [each for each in found if f"{PACKAGE}/{each.rpartition('.')[2]}.py" not in sources]
    content = TRAINER.format(name=trainer, version=ser_nnunet.__version__, package=PACKAGE)
    return {f"{trainer}.py": content.encode(), f"{PACKAGE}/__init__.py": b"", **dict(sorted(sources.items()))}


def known_parts() -> KnownParts:
    """Return what a zip for nnU-Net holds besides nnU-Net's own files, to compare a received one with."""
    template = (files("ser_nnunet.export") / "card.html.j2").read_text(encoding="utf-8")
    head = template[template.index("<!DOCTYPE html>") : template.index("<title>")]  # ends with the security policy
    return KnownParts(python_files, CARD, head.encode())
