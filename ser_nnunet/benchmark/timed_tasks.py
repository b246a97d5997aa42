"""What `benchmark speed` times: whole training steps of real trainers, and predictions by nnU-Net's predictor."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from ser_nnunet.benchmark.systems import list_systems, make_sam_architecture
from ser_nnunet.nnunet.annotated_cases import annotated_key
from ser_nnunet.nnunet.base_trainer import TypedTrainer
from ser_nnunet.nnunet.paths import PREPROCESSED, RESULTS
from ser_nnunet.nnunet.plans import PlannedConfiguration
from ser_nnunet.sam.architecture import build
from ser_nnunet.training.cached_trainer import SERTrainerCached
from ser_nnunet.training.paper import SERTrainerPaper
from ser_nnunet.training.trainer import SERTrainer
from ser_nnunet.training.variants import SERTrainerNoSAM
from ser_nnunet.utils.files import write_json
from ser_nnunet.utils.variables import SAM_CHECKPOINT, environment

Task = Callable[[], object]
SLICES = 2  # of the case whose SAM embeddings are kept


def build_training_steps(
    planned: PlannedConfiguration,
    batch_size: int,
    device: torch.device,
    folder: Path,
    sam: Path | None,
    sam_size: int | None,
) -> dict[str, Task]:
    """Return name -> one training step (forward, loss, backward, clipping, optimiser) on a fixed random batch.

    Args:
        planned: the configuration; the paper's preset is for 2D alone.
        batch_size: patches per step, for every trainer.
        device: where to train.
        folder: an empty one, in which the trainers may write.
        sam: a SAM checkpoint; adds a guided step.
        sam_size: pixels at which SAM sees a slice; None is the checkpoint's own.
    """
    trainers: dict[str, tuple[type[nnUNetTrainer], dict[str, Any]]] = {"nnU-Net": (nnUNetTrainer, {})}
    trainers["SERNet light"] = (SERTrainerNoSAM, {})
    if len(planned.patch_size) == 2:
        trainers["SERNet paper"] = (SERTrainerPaper, {"guided_fraction": 0.0})
    if sam:
        trainers["SERNet light, SAM-guided"] = (SERTrainer, {"sam_image_size": sam_size})
        if len(planned.patch_size) == 2:
            trainers["SERNet light, SAM's embeddings kept"] = (SERTrainerCached, {"sam_image_size": sam_size})
    preprocessed = folder / "preprocessed"
    write_case(planned, preprocessed / planned.plans_manager.dataset_name)
    paths = {PREPROCESSED: str(preprocessed), RESULTS: str(folder / "results")}
    steps: dict[str, Task] = {}
    with environment(paths | ({SAM_CHECKPOINT: str(sam)} if sam else {})):
        for name, (trainer_class, attributes) in trainers.items():
            trainer = build_trainer(trainer_class, attributes, planned, device)
            steps[name] = partial(trainer.train_step, make_random_batch(trainer, batch_size))
    return steps


def write_case(planned: PlannedConfiguration, folder: Path) -> None:
    """Write a preprocessed case of noise with a box of each class, and the split that trainers look for.

    Args:
        planned: the configuration.
        folder: of the data set, in nnUNet_preprocessed.
    """
    cases = folder / planned.configuration_manager.data_identifier
    cases.mkdir(parents=True)
    shape = (min(SLICES, planned.volume[0]), *planned.volume[1:])
    image = np.random.default_rng(0).normal(size=(planned.channels, *shape)).astype(np.float32)
    labels = np.zeros((1, *shape), np.int8)
    locations: dict[Any, np.ndarray] = {}
    manager = planned.plans_manager.get_label_manager(planned.dataset_json)
    values = [label for label in manager.all_labels if label > 0]
    for number, label in enumerate(values):
        edge = shape[1] // (len(values) + 1)
        labels[:, :, number * edge : (number + 1) * edge, : max(1, shape[2] // 4)] = label
    for key in manager.foreground_regions if manager.has_regions else manager.foreground_labels:
        wanted = key if isinstance(key, (list, tuple)) else (key,)
        name = tuple(wanted) if manager.has_regions and len(wanted) > 1 else wanted[0]
        locations[name] = np.argwhere(np.isin(labels, wanted))
    if manager.has_ignore_label:
        locations[annotated_key(manager)] = np.argwhere(labels == 0)
    chunks = (1, *shape)
    nnUNetDatasetBlosc2.save_case(image, labels, {"class_locations": locations}, str(cases / "noise"), chunks, chunks)
    write_json(folder / "splits_final.json", [{"train": ["noise"], "val": ["noise"]}])


def build_trainer(
    trainer_class: type[nnUNetTrainer],
    attributes: dict[str, Any],
    planned: PlannedConfiguration,
    device: torch.device,
) -> TypedTrainer:
    """Return a trainer with the given attributes that is ready for its first step; its output is kept off the screen.

    SAM is loaded if it guides the first epoch.
    """
    plans = deepcopy(planned.plans) | {"continue_training": False}  # nnU-Net takes this entry out again
    with contextlib.redirect_stdout(io.StringIO()):
        trainer = cast(TypedTrainer, trainer_class(plans, planned.configuration, 0, planned.dataset_json, device))
        for name, value in attributes.items():
            setattr(trainer, name, value)
        trainer.initialize()
        trainer.set_deep_supervision_enabled(trainer.enable_deep_supervision)
        trainer.on_train_epoch_start()
    return trainer


def make_random_batch(trainer: TypedTrainer, size: int) -> dict[str, Any]:
    """Return noise and labels of the trainer's shapes: the time of a step doesn't depend on what the images show."""
    patch = tuple(trainer.configuration_manager.patch_size)
    generator = torch.Generator().manual_seed(0)
    data = torch.randn(size, trainer.num_input_channels, *patch, generator=generator)
    manager = trainer.label_manager
    seg = torch.randint(0, len(manager.foreground_labels) + 1, (size, 1, *patch), generator=generator)
    values = torch.tensor([0, *manager.foreground_labels])[seg]
    if manager.has_regions:
        regions = [torch.isin(values[:, 0], torch.tensor(region)) for region in manager.foreground_regions]
        values = torch.stack(regions, 1)
    target = values.to(torch.int16)
    if not trainer.enable_deep_supervision:
        return {"data": data, "target": target}
    with torch.no_grad():
        shapes = [tuple(output.shape[2:]) for output in trainer.network(data[:1].to(trainer.device))]
    return {"data": data, "target": [F.interpolate(target.float(), shape).to(torch.int16) for shape in shapes]}


def build_predictions(
    planned: PlannedConfiguration, volume: tuple[int, ...], device: torch.device, mirroring: bool
) -> dict[str, Task]:
    """Return name -> the prediction of a random volume `(slices, rows, columns)` by nnU-Net's own predictor."""
    image = torch.randn(planned.channels, *volume, generator=torch.Generator().manual_seed(0))
    axes = tuple(range(len(planned.patch_size)))
    tasks: dict[str, Task] = {}
    for system in list_systems(planned, sam=False):
        with contextlib.redirect_stdout(io.StringIO()):
            predictor = nnUNetPredictor(use_mirroring=mirroring, device=device, allow_tqdm=False)
        predictor.manual_initialization(
            system.build(),
            planned.plans_manager,
            planned.configuration_manager,
            None,
            planned.dataset_json,
            "nnUNetTrainer",
            axes,
        )
        tasks[system.name] = partial(predictor.predict_sliding_window_return_logits, image)
    return tasks


def build_sam_encoders(variant: str, sizes: Sequence[int], device: torch.device) -> dict[str, Task]:
    """Return name -> SAM's image encoder on one slice at each size; random weights, which take as long as others."""
    tasks: dict[str, Task] = {}
    for size in sizes:
        encoder = build(make_sam_architecture(variant, size)).image_encoder.to(device)
        tasks[f"SAM {variant} encoder, {size} pixels"] = partial(encode, encoder, torch.zeros(1, 3, size, size), device)
    return tasks


def encode(encoder: torch.nn.Module, image: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return SAM's embedding of an image `(1, 3, size, size)`, the copy to the device and autocast included."""
    with torch.inference_mode(), torch.autocast(device.type, enabled=device.type == "cuda"):
        return encoder(image.to(device))
