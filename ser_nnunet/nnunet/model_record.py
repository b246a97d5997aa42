"""What a trained model says of itself: in its checkpoints, in plans.json, and in SERNET.md for people."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch.nn.parallel import DistributedDataParallel

from ser_nnunet import __version__
from ser_nnunet.nnunet.channels import list_channels
from ser_nnunet.utils.files import write_text
from ser_nnunet.utils.model_format import EARLIER_FORMATS, RECORD, make_record

README = "SERNET.md"
README_TEXT = """\
# {model}

A segmentation model for nnU-Net v2, trained on {dataset} with ser-nnunet {version} (`-tr {trainer}`, configuration
{configuration}). Research use only; this is not a medical device.

Prediction needs{needs}:

    pip install ser-nnunet=={version}
    nnUNetv2_predict_from_modelfolder -i IMAGES -o MASKS -m FOLDER_OF_THIS_FILE -f FOLDS    # -device cpu without a GPU

Every later version of ser-nnunet that reads the model format {format} will do, too.

* Channels, in this order: {channels}
* Segments: {labels}
* Trained with {versions}

Please cite

* the method: F. Proietto Salanitri et al., SAM-guided prompt learning for Multiple Sclerosis lesion segmentation,
  Pattern Recognition Letters 199 (2026) 205-211, doi 10.1016/j.patrec.2025.11.018
* nnU-Net: F. Isensee et al., Nature Methods 18 (2021) 203-211, doi 10.1038/s41592-020-01008-z
* the data set: {citation}
"""
WITHOUT_TRAINER = " the package ser-nnunet and nothing else, no `nnUNet_extTrainer` and no SAM"
WITH_TRAINER = """ the package ser-nnunet and the trainer {trainer}, which builds the network itself: the environment
variable `nnUNet_extTrainer` must list the folder with its file"""


def unwrap(network: Any) -> torch.nn.Module:
    """Return the network under the wrappers of DDP and torch.compile."""
    module = network.module if isinstance(network, DistributedDataParallel) else network
    return cast(torch.nn.Module, getattr(module, "_orig_mod", module))


def network_builder(trainer: nnUNetTrainer) -> str:
    """Return the trainer class that a prediction has to look up for building the network.

    That is nnU-Net's own, which every installation has, if it builds the network that the plans name, as SER's trainers
    do. A trainer that builds another network has to be found itself.
    """
    network = type(unwrap(trainer.network))
    is_planned = trainer.configuration_manager.network_arch_class_name == f"{network.__module__}.{network.__qualname__}"
    if is_planned and type(trainer).build_network_architecture is nnUNetTrainer.build_network_architecture:
        return nnUNetTrainer.__name__
    return type(trainer).__name__


def describe_code(trainer: nnUNetTrainer) -> dict[str, Any]:
    """Return the record of the code that trains; a network that isn't SERNet has had no other format."""
    planned = trainer.configuration_manager.network_arch_init_kwargs
    return make_record(
        type(trainer).__name__, network_builder(trainer), planned.get("model_format", EARLIER_FORMATS[0])
    )


def add_record(checkpoint: Path, trainer: nnUNetTrainer) -> None:
    """Add to a checkpoint that nnU-Net has written which code trained it and which class builds its network.

    nnU-Net looks the class of `trainer_name` up for a prediction, and for nothing else.
    """
    content: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=False)
    content[RECORD] = describe_code(trainer)
    content["trainer_name"] = content[RECORD]["builder"]
    torch.save(content, checkpoint)


def describe_model(trainer: nnUNetTrainer) -> str:
    """Return the text of SERNET.md."""
    name, dataset = type(trainer).__name__, trainer.dataset_json
    record = describe_code(trainer)
    needs = WITH_TRAINER if record["builder"] == name else WITHOUT_TRAINER
    return README_TEXT.format(
        model=f"{name}__{trainer.plans_manager.plans_name}__{trainer.configuration_name}",
        dataset=trainer.plans_manager.dataset_name,
        version=__version__,
        trainer=name,
        configuration=trainer.configuration_name,
        needs=needs.format(trainer=name),
        format=record["format"],
        channels=", ".join(list_channels(dataset)) or "see dataset.json",
        labels=", ".join(label for label in dataset["labels"] if label not in ("background", "ignore")),
        versions=", ".join(f"{package} {version}" for package, version in record["versions"].items()),
        citation=dataset.get("citation") or dataset.get("reference") or "see its dataset.json",
    )


def record_in_plans(trainer: nnUNetTrainer) -> None:
    """Put the record and the text into the plans, which nnU-Net saves beside the folds and in its zip of a model."""
    text = describe_model(trainer)
    trainer.plans_manager.plans[RECORD] = describe_code(trainer) | {"readme": text.splitlines()}


def write_readme(trainer: nnUNetTrainer, fold_folder: Path) -> None:
    """Write SERNET.md into the model folder and into the fold's folder, from which nnU-Net's zip can take it."""
    for folder in (fold_folder.parent, fold_folder):
        write_text(folder / README, describe_model(trainer))
