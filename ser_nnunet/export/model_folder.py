"""nnU-Net's folder of a trained model: plans, data set, and one checkpoint per fold."""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from ser_nnunet.errors import UserError
from ser_nnunet.export.exported_plans import ExportedDataset, ExportedPlans, Fingerprint
from ser_nnunet.export.fold_files import FOLD, find_checkpoints
from ser_nnunet.export.plans_recipe import make_recipe, unsupported
from ser_nnunet.export.training_record import TrainingRecord, read_training
from ser_nnunet.export.validation_dice import read_summary, summary_file
from ser_nnunet.nnunet.model_plans import read_model_plans
from ser_nnunet.nnunet.plans import PlannedConfiguration
from ser_nnunet.nnunet.trained_model import read_checkpoint
from ser_nnunet.nnunet.trainers import EXTERNAL_TRAINERS, with_trainers
from ser_nnunet.runtime.recipe import Recipe
from ser_nnunet.utils.json_files import read_validated
from ser_nnunet.utils.model_format import recorded_trainer
from ser_nnunet.utils.variables import environment


@dataclass(frozen=True)
class TrainedModel:
    """What a model folder holds.

    Attributes:
        recipe: everything but the network.
        network: built by the trainer, in eval mode; weights are loaded by `networks`.
        weights: of each fold.
        trainings: of each fold.
    """

    recipe: Recipe
    network: torch.nn.Module
    weights: Mapping[str, dict[str, torch.Tensor]]
    trainings: Sequence[TrainingRecord]

    def networks(self) -> Iterator[tuple[str, torch.nn.Module]]:
        """Yield the name of each fold and the network with its weights; one object, valid until the next."""
        for fold, weights in self.weights.items():
            self.network.load_state_dict(weights)
            yield fold, self.network.eval()


def read_model_folder(folder: Path, folds: Sequence[str] | None, checkpoint: str) -> TrainedModel:
    """Read a model that nnU-Net trained.

    Its checkpoints are unpickled, as by `nnUNetv2_predict`: read only folders that you trust.

    Args:
        folder: `TRAINER__PLANS__CONFIGURATION`, as in nnUNet_results.
        folds: see `find_checkpoints`.
        checkpoint: file name in the folds' folders.

    Raises:
        UserError: files are missing, or the model needs what the runtime can't do; all reasons at once.
    """
    checkpoints = find_checkpoints(folder, folds, checkpoint)
    chosen, files = list(checkpoints), list(checkpoints.values())
    contents = [read_checkpoint(file, ("init_args",), ("configuration",), mmap=True) for file in files]
    content = contents[0]
    planned = read_model_plans(folder, content["init_args"]["configuration"], ExportedPlans, ExportedDataset)
    with contextlib.redirect_stdout(io.StringIO()):  # nnU-Net prints which of its defaults it takes
        problems = unsupported(planned)
    if problems:
        raise UserError(f"{folder} can't be exported:\n  " + "\n  ".join(problems))
    predictor = _predictor(folder, chosen, checkpoint)
    fingerprint = folder / "dataset_fingerprint.json"
    known = None
    if fingerprint.is_file():
        known = read_validated(fingerprint, Fingerprint, "the training's dataset_fingerprint.json").model_dump()
    provenance = _provenance(folder, chosen, checkpoint, content, planned)
    with contextlib.redirect_stdout(io.StringIO()):
        recipe = make_recipe(planned, predictor.allowed_mirroring_axes, known, provenance)
    parameters = cast(list[dict[str, torch.Tensor]], predictor.list_of_parameters)
    weights = {f"{FOLD}{fold}": each for fold, each in zip(chosen, parameters, strict=True)}
    trainings = [read_training(*each) for each in zip(chosen, files, contents, strict=True)]
    return TrainedModel(recipe, cast(torch.nn.Module, predictor.network), weights, trainings)


def _predictor(folder: Path, folds: Sequence[str], checkpoint: str) -> nnUNetPredictor:
    """Return nnU-Net's predictor with the trainer's network and the folds' weights."""
    trainers = {EXTERNAL_TRAINERS: with_trainers(os.environ.get(EXTERNAL_TRAINERS))}
    with environment(trainers), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the search for the trainer imports all of nnU-Net's and what they need
        predictor = nnUNetPredictor(device=torch.device("cpu"))
        try:
            predictor.initialize_from_trained_model_folder(str(folder), cast(Any, tuple(folds)), checkpoint)
        except Exception as error:  # of any trainer and network
            raise UserError(
                f"{folder}: nnU-Net can't build its network as plans.json describes it; if the trainer is your own, "
                f"name its folder in {EXTERNAL_TRAINERS} ({type(error).__name__}: {error})"
            ) from error
    return predictor


def _provenance(
    folder: Path, folds: Sequence[str], checkpoint: str, content: Mapping[str, Any], planned: PlannedConfiguration
) -> dict[str, Any]:
    """Return where the model comes from, for people: values as nnU-Net and the data set state them."""
    validation = {}
    for fold in folds:
        summary = summary_file(folder, fold)
        if summary.is_file():
            validation[fold] = read_summary(summary).foreground_mean.Dice
    return {
        "trainer": recorded_trainer(content),
        "plans": planned.plans["plans_name"],
        "dataset": planned.plans["dataset_name"],
        "folds": list(folds),
        "checkpoint": checkpoint,
        "epochs": content.get("current_epoch"),
        "validation_dice": validation,
        "training_cases": planned.dataset_json.get("numTraining"),
        "unannotated_cases": planned.dataset_json.get("numUnannotated", 0),  # of these
        "data_licence": planned.dataset_json.get("licence") or planned.dataset_json.get("license"),
        "data_citation": planned.dataset_json.get("citation"),
        "versions": {name: version(name) for name in ("ser-nnunet", "nnunetv2", "torch")},
    }
