"""SAM's embeddings of all preprocessed cases of a data set, as trainers would compute them at their start."""

from __future__ import annotations

import io
import tempfile
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import torch

from ser_nnunet.errors import UserError
from ser_nnunet.nnunet.channels import list_channels
from ser_nnunet.nnunet.paths import RESULTS, preprocessed_dataset
from ser_nnunet.nnunet.trainers import find_trainer
from ser_nnunet.training.cached_trainer import open_cache
from ser_nnunet.training.trainer import SERTrainer
from ser_nnunet.utils.files import read_json
from ser_nnunet.utils.variables import environment


@dataclass(frozen=True)
class EmbeddingRequest:
    """What to embed.

    Attributes:
        dataset: number or name of a planned and preprocessed data set.
        configuration, plans_name: as in nnU-Net's commands.
        trainer: whose settings for SAM are taken.
        gigabytes: on disk at most; None takes the trainer's.
        device: None takes a GPU where there is one.
    """

    dataset: str
    configuration: str
    plans_name: str
    trainer: str
    gigabytes: float | None = None
    device: str | None = None


def embed_dataset(request: EmbeddingRequest) -> str:
    """Embed what isn't kept yet; return a sentence that says what is kept and where.

    Raises:
        UserError: the data set isn't preprocessed, or the trainer isn't guided by kept embeddings.
        CheckpointError: SAM can't be loaded.
    """
    folder = preprocessed_dataset(request.dataset)
    plans_file = folder / f"{request.plans_name}.json"
    if not plans_file.is_file():
        raise UserError(f"{plans_file} is missing: plan the data set")
    plans = read_json(plans_file)
    if request.configuration not in plans["configurations"]:
        known = ", ".join(plans["configurations"])
        raise UserError(f"{plans_file} has no configuration {request.configuration}; it has {known}")
    try:
        kind = find_trainer(request.trainer)
    except RuntimeError as error:
        raise UserError(str(error).splitlines()[0]) from error
    if not (issubclass(kind, SERTrainer) and hasattr(kind, "sam_cache_gigabytes")):
        raise UserError(f"{request.trainer} isn't guided by kept embeddings: take SERTrainerCached or SERTrainerSemi")
    try:
        kind.refuse_unsupported(plans, request.configuration)
    except NotImplementedError as error:
        raise UserError(str(error)) from error
    device = torch.device(request.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    described = read_json(folder / "dataset.json")
    with (
        tempfile.TemporaryDirectory() as results,  # where nnU-Net's trainer makes its folder
        environment({RESULTS: results}),
        redirect_stdout(io.StringIO()),  # nnU-Net prints its device and citation
    ):
        trainer = kind(plans | {"continue_training": False}, request.configuration, 0, described, device)
    try:
        trainer.guidance_settings.check(list_channels(described))
    except ValueError as error:
        raise UserError(str(error)) from error
    cases = sorted(file.stem for file in Path(trainer.preprocessed_dataset_folder).glob("*.pkl"))
    if not cases:
        raise UserError(
            f"{trainer.preprocessed_dataset_folder} holds no cases: run  nnUNetv2_preprocess -c {request.configuration}"
        )
    gigabytes = request.gigabytes or kind.sam_cache_gigabytes
    cached, _ = open_cache(trainer, cases, gigabytes)
    slices = sum(len(case.positions) for case in cached.kept)
    size = sum(file.stat().st_size for file in Path(cached.store.folder).glob("*.npy"))
    return f"{slices} slices of {len(cached.kept)} cases, {size / 1e9:.2f} GB, in {cached.store.folder}" + (
        f"; for trainers with sam_cache_gigabytes = {gigabytes:g}" if gigabytes != kind.sam_cache_gigabytes else ""
    )
