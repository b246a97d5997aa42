"""A trained model as a zip for nnU-Net's own `nnUNetv2_install_pretrained_model_from_zip`, without the plugin.

With SERNet, the zip brings the code that builds the network (see `nnunet_code`).
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from ser_nnunet.errors import UserError
from ser_nnunet.export.fold_files import FOLD
from ser_nnunet.export.model_card import make_card
from ser_nnunet.export.model_folder import TrainedModel, read_model_folder
from ser_nnunet.export.model_writer import write_parts
from ser_nnunet.export.nnunet_code import python_files
from ser_nnunet.export.output_files import CARD, find_card_file
from ser_nnunet.network.ser_net import SERNet
from ser_nnunet.nnunet.model_plans import read_model_plans
from ser_nnunet.nnunet.plans import PlannedConfiguration
from ser_nnunet.nnunet.trainers import find_trainer
from ser_nnunet.utils.files import replacing

INSTALLED = ("torch.", "dynamic_network_architectures.")
"""Where the classes of nnU-Net's own networks are, which every installation of it has."""
KEPT = ("network_weights", "init_args", "trainer_name", "inference_allowed_mirroring_axes", "current_epoch")
"""What a checkpoint keeps: all that prediction reads; neither the optimiser's state nor the log of the training."""


def export_to_nnunet(
    folder: Path,
    target: Path,
    folds: Sequence[str] | None = None,
    checkpoint: str = "checkpoint_final.pth",
    report: Callable[[str], None] = lambda line: None,
    picture: str | None = None,
) -> Path:
    """Write the zip, and the model card that is in it beside it; return the card's path.

    Args:
        folder: nnU-Net's, `TRAINER__PLANS__CONFIGURATION`.
        target: the zip, replaced if an export wrote it; the card has its name with `.html` in place of `.zip`.
        folds: see `read_model_folder`.
        checkpoint: file name in the folds' folders.
        report: called with the lines by which the model is installed and used.
        picture: a validation case that the card shows, or `median`; None shows none.

    Raises:
        UserError: as by `read_model_folder` and `find_card_file`, or the model needs a package that the receiver would
            have to install.
    """
    card_file = find_card_file(target)
    model = read_model_folder(folder, folds, checkpoint)
    known = model.recipe.provenance
    builder, modules = find_builder(model, folder)
    place = f"{known['dataset']}/{known['trainer']}__{known['plans']}__{model.recipe.configuration}"
    commands = describe_use(known, model.recipe.configuration, target.name, place if modules else None)
    card = make_card(model, folder, {}, picture, report, commands)
    parts = {CARD: card, **modules}
    for name in ("plans.json", "dataset.json", "dataset_fingerprint.json"):
        if (folder / name).is_file():
            parts[name] = (folder / name).read_bytes()
    for fold in known["folds"]:
        parts[f"{FOLD}{fold}/{checkpoint}"] = reduce_checkpoint(folder / f"{FOLD}{fold}" / checkpoint, builder)
    with replacing(card_file) as page, replacing(target) as unfinished:
        page.write_bytes(card)
        with unfinished.open("wb") as stream:
            write_parts(stream, {f"{place}/{name}": part for name, part in parts.items()})
    report("\n".join(["the receiver's commands:", *commands]))
    return card_file


def find_builder(model: TrainedModel, folder: Path) -> tuple[str, dict[str, bytes]]:
    """Return the trainer that nnU-Net has to look up for building the network, and the Python files that it needs.

    nnU-Net's own trainers need none. `nnUNetTrainer` also builds what a trainer from elsewhere has trained, if that is
    the network that plans.json names.

    Raises:
        UserError: the network is another one, and not SERNet either.
    """
    name = model.recipe.provenance["trainer"]
    try:
        stock = find_trainer(name).__module__.startswith("nnunetv2.")
    except RuntimeError:  # a user's own, whose folder isn't in nnUNet_extTrainer: its module isn't needed for SERNet
        stock = False
    is_sernet = isinstance(model.network, SERNet)
    if stock and not is_sernet:
        return name, {}
    if is_sernet and not stock:
        return name, python_files(name)
    if not is_sernet and is_planned(model.network, read_model_plans(folder, model.recipe.configuration)):
        return nnUNetTrainer.__name__, {}
    kind = f"{type(model.network).__module__}.{type(model.network).__qualname__}"
    raise UserError(
        f"{name} with the network {kind} can't be exported for nnU-Net: expected a trainer of nnU-Net with a "
        "network of nnU-Net, any trainer with the network that plans.json names, or one of ser-nnunet's with SERNet"
    )


def is_planned(network: torch.nn.Module, planned: PlannedConfiguration) -> bool:
    """Return whether nnU-Net's own trainer builds the same network, layer by layer, and every layer is a package's."""
    managers = planned.plans_manager, planned.configuration_manager
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # nnU-Net prints which of its defaults it takes
            expected = nnUNetTrainer.build_network_architecture(*managers, planned.channels, planned.heads, False)
    except Exception:  # of whatever class the plans name
        return False
    installed = all(type(layer).__module__.startswith(INSTALLED) for layer in network.modules())
    return installed and type(network) is type(expected) and repr(network) == repr(expected)


def reduce_checkpoint(file: Path, trainer: str) -> bytes:
    """Return a checkpoint with what prediction reads, as a file; nnU-Net looks up `trainer` to build the network."""
    content = torch.load(file, map_location="cpu", weights_only=False) | {"trainer_name": trainer}
    stream = io.BytesIO()
    torch.save({key: content[key] for key in KEPT if key in content}, stream)
    return stream.getvalue()


def describe_use(known: Mapping[str, Any], configuration: str, name: str, place: str | None) -> list[str]:
    """Return the commands by which the receiver installs the zip and predicts.

    Args:
        known: the recipe's provenance.
        configuration: such as `2d`.
        name: of the zip.
        place: of the model in nnUNet_results, if it brings a trainer.
    """
    number = int(known["dataset"].removeprefix("Dataset").split("_")[0])
    variable = f"nnUNet_extTrainer=$nnUNet_results/{place} " if place else ""
    chosen = f" -chk {known['checkpoint']}" if known["checkpoint"] != "checkpoint_final.pth" else ""
    return [
        f"nnUNetv2_install_pretrained_model_from_zip {name}",
        f"{variable}nnUNetv2_predict -i IMAGES -o MASKS -d {number} -tr {known['trainer']} -p {known['plans']} "
        f"-c {configuration} -f {' '.join(known['folds'])}{chosen}",
    ]
