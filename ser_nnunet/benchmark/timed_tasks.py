"""What `benchmark speed` times: whole training steps of real trainers, and predictions by nnU-Net's predictor."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from ser_nnunet.benchmark.systems import sam_architecture
from ser_nnunet.nnunet.plans import Planned
from ser_nnunet.sam.architecture import build
from ser_nnunet.training.paper import SERTrainerPaper
from ser_nnunet.training.trainer import SERTrainer
from ser_nnunet.training.variants import SERTrainerNoSAM
from ser_nnunet.utils.variables import SAM_CHECKPOINT, environment

Task = Callable[[], object]


def training_steps(
    planned: Planned, batch_size: int, device: torch.device, folder: Path, sam: Path | None, sam_size: int | None
) -> dict[str, Task]:
    """Return name -> one training step (forward, loss, backward, clipping, optimiser) on a fixed random batch.

    Args:
        planned: a 2D configuration, or a 3D one, for which there is nnU-Net's step alone.
        batch_size: patches per step, for every trainer.
        device: where to train.
        folder: an empty one, in which the trainers may write.
        sam: a SAM checkpoint; adds a guided step.
        sam_size: pixels at which SAM sees a slice; None is the checkpoint's own.
    """
    trainers: dict[str, tuple[type[nnUNetTrainer], dict[str, Any]]] = {"nnU-Net": (nnUNetTrainer, {})}
    if len(planned.patch) == 2:
        trainers["SERNet light"] = (SERTrainerNoSAM, {})
        trainers["SERNet paper"] = (SERTrainerPaper, {"guided_fraction": 0.0})
    if sam and len(planned.patch) == 2:
        trainers["SERNet light, SAM-guided"] = (SERTrainer, {"sam_image_size": sam_size})
    paths = {"nnUNet_preprocessed": str(folder / "preprocessed"), "nnUNet_results": str(folder / "results")}
    _place_holder(planned, folder / "preprocessed")
    steps: dict[str, Task] = {}
    with environment(paths | ({SAM_CHECKPOINT: str(sam)} if sam else {})):
        for name, (trainer, settings) in trainers.items():
            steps[name] = _step(trainer, settings, planned, batch_size, device)
    return steps


def _place_holder(planned: Planned, folder: Path) -> None:
    """Write an empty case: a trainer looks at the file names of its data before it is built, and no further."""
    cases = folder / planned.manager.dataset_name / planned.settings.data_identifier
    cases.mkdir(parents=True)
    (cases / "none.b2nd").touch()


def _step(
    trainer_class: type[nnUNetTrainer],
    settings: dict[str, Any],
    planned: Planned,
    batch_size: int,
    device: torch.device,
) -> Task:
    plans = deepcopy(planned.plans) | {"continue_training": False}  # nnU-Net takes this entry out again
    with contextlib.redirect_stdout(io.StringIO()):
        trainer = trainer_class(plans, planned.configuration, 0, planned.dataset_json, device)
        for name, value in settings.items():
            setattr(trainer, name, value)
        trainer.initialize()
        trainer.set_deep_supervision_enabled(trainer.enable_deep_supervision)
        trainer.on_train_epoch_start()
    batch = random_batch(trainer, batch_size)
    return lambda: trainer.train_step(batch)


def random_batch(trainer: nnUNetTrainer, size: int) -> dict[str, Any]:
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


def predictions(planned: Planned, volume: tuple[int, ...], device: torch.device, mirroring: bool) -> dict[str, Task]:
    """Return name -> the prediction of a random volume `(slices, rows, columns)` by nnU-Net's own predictor."""
    from ser_nnunet.benchmark.systems import systems_of

    image = torch.randn(planned.channels, *volume, generator=torch.Generator().manual_seed(0))
    tasks: dict[str, Task] = {}
    for system in systems_of(planned, sam=False):
        with contextlib.redirect_stdout(io.StringIO()):
            predictor = nnUNetPredictor(use_mirroring=mirroring, device=device, allow_tqdm=False)
        axes = tuple(range(len(planned.patch)))
        predictor.manual_initialization(
            system.build(), planned.manager, planned.settings, None, planned.dataset_json, "nnUNetTrainer", axes
        )
        tasks[system.name] = _prediction(predictor, image)
    return tasks


def _prediction(predictor: nnUNetPredictor, image: torch.Tensor) -> Task:
    return lambda: predictor.predict_sliding_window_return_logits(image)


def sam_encoders(variant: str, sizes: list[int], device: torch.device) -> dict[str, Task]:
    """Return name -> SAM's image encoder on one slice at each size; random weights, which take as long as others."""
    tasks: dict[str, Task] = {}
    for size in sizes:
        encoder = build(sam_architecture(variant, size)).image_encoder.to(device)
        tasks[f"SAM {variant} encoder, {size} pixels"] = _encoding(encoder, torch.zeros(1, 3, size, size))
    return tasks


def _encoding(encoder: torch.nn.Module, picture: torch.Tensor) -> Task:
    device = next(encoder.parameters()).device

    def encode() -> None:
        with torch.inference_mode(), torch.autocast(device.type, enabled=device.type == "cuda"):
            encoder(picture.to(device))

    return encode
