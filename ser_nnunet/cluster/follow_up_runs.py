"""Doing the steps after the trainings, by nnU-Net's commands and this package's."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ser_nnunet.cluster.crossval_settings import CrossvalSettings, results_of
from ser_nnunet.cluster.follow_ups import CROSSVAL, best_folder, evaluation_folder, labels_of, predictions_folder
from ser_nnunet.cluster.training_files import TrainingFiles
from ser_nnunet.cluster.unfinished_predictions import WRITERS, keep_whole_masks
from ser_nnunet.errors import UserError
from ser_nnunet.nnunet.paths import preprocessed_dataset
from ser_nnunet.utils.files import UNFINISHED, read_json, remove, replacing, write_json
from ser_nnunet.utils.locks import ExclusiveLock

CHOICE = ("inference_information.json", "inference_instructions.txt")
"""nnU-Net's files on its choice, of which it keeps one per data set."""

LOCK_SECONDS = 4 * 3600.0


def run_command(name: str, *arguments: object) -> None:
    """Run an installed command in a process of its own; `UserError` if it fails."""
    words = [name, *map(str, arguments)]
    print(f"$ {' '.join(words)}", flush=True)
    done = subprocess.run([sys.executable, "-m", "ser_nnunet.cluster.console_script", *words])
    if done.returncode:
        raise UserError(f"{name} ended with status {done.returncode}; its output is above")


def find_best(settings: CrossvalSettings, trainer: str, trainings: Sequence[TrainingFiles]) -> None:
    """Let nnU-Net choose the best configuration, or ensemble of two, of a trainer, and keep its choice.

    Trainers come one after another: nnU-Net keeps one choice per data set, which is the first trainer's in the end.
    """
    results = results_of(settings.dataset)
    lacking = [training.folder for training in trainings if not training.has_probabilities()]
    if lacking and len(settings.configurations) > 1:
        print(f"no ensembles: {len(lacking)} trainings were validated without --npz, such as {lacking[0]}")
    arguments = ["-p", settings.plans, "-c", *settings.configurations, "-tr", trainer, "-f", *settings.folds]
    with WaitingLock(settings.folder / ".best.lock", "the choice of the best configuration"):
        options = ["--disable_ensembling"] if lacking else []
        run_command("nnUNetv2_find_best_configuration", settings.dataset, *arguments, *options)
        keep_choice(results, best_folder(settings, trainer))
        first = best_folder(settings, settings.trainer)
        if trainer != settings.trainer and (first / CHOICE[0]).is_file():
            keep_choice(first, results)


class WaitingLock(ExclusiveLock):
    """A lock that is waited for."""

    def acquire(self, seconds: float = LOCK_SECONDS) -> None:
        """Take the lock as soon as it is free."""
        super().acquire(seconds)


def keep_choice(source: Path, target: Path) -> None:
    """Copy nnU-Net's files on its choice, each completely or not at all."""
    for name in CHOICE:
        with replacing(target / name) as unfinished:
            shutil.copyfile(source / name, unfinished)


def predict(settings: CrossvalSettings, trainer: str, made_from: str | None) -> None:
    """Predict the images by the chosen configuration or ensemble, and postprocess.

    A folder of predictions is renamed when it is complete. In one that an interruption has left, nnU-Net goes on with
    the cases that lack a mask, and with the latest ones, whose masks may have been cut off.

    Args:
        settings: with the folder of images.
        trainer: whose choice predicts.
        made_from: digest; predictions of another one are removed.
    """
    assert settings.predict is not None
    folder, choice = predictions_folder(settings, trainer), read_choice(settings, trainer)
    source = folder / "made_from.json"
    if not source.is_file() or read_json(source) != made_from:
        remove(folder)
        write_json(source, made_from)
    models = [model["configuration"] for model in choice["selected_model_or_models"]]
    predicted = [predict_by(settings, trainer, model, folder, len(models) > 1) for model in models]
    if len(models) > 1:
        with replacing(folder / "ensemble") as unfinished:
            run_command("nnUNetv2_ensemble", "-i", *predicted, "-o", unfinished, "-np", 1)
        predicted = [folder / "ensemble"]
    remove(folder / "final")
    with replacing(folder / "final") as unfinished:
        postprocessing = ["-pp_pkl_file", choice["postprocessing_file"], "-plans_json", choice["some_plans_file"]]
        dataset_json = ["-dataset_json", Path(choice["some_plans_file"]).parent / "dataset.json"]
        places = ["-i", predicted[0], "-o", unfinished, "-np", 1]
        run_command("nnUNetv2_apply_postprocessing", *places, *postprocessing, *dataset_json)


def predict_by(settings: CrossvalSettings, trainer: str, configuration: str, folder: Path, probabilities: bool) -> Path:
    """Return the folder of one configuration's predictions, those of a cascade's first stage before."""
    target = folder / configuration
    if target.is_dir():
        return target
    plans = read_json(results_of(settings.dataset) / f"{trainer}__{settings.plans}__{configuration}" / "plans.json")
    options: list[object] = ["--save_probabilities"] if probabilities else []
    previous = plans["configurations"][configuration].get("previous_stage")
    if previous is not None:  # nnU-Net 2.8's own instructions leave the first stage out
        options += ["-prev_stage_predictions", predict_by(settings, trainer, previous, folder, False)]
    model = ["-d", settings.dataset, "-tr", trainer, "-p", settings.plans, "-c", configuration]
    unfinished = target.with_name(f"{UNFINISHED}{configuration}")
    if kept := keep_whole_masks(unfinished):
        print(f"{configuration}: {kept} cases were predicted before the interruption")
    places = ["-i", settings.predict, "-o", unfinished, "-f", *settings.folds, "--continue_prediction", "-nps", WRITERS]
    device = ["-device", settings.device, "--disable_progress_bar"]
    run_command("nnUNetv2_predict", *places, *model, *options, *device)
    unfinished.replace(target)
    return target


def read_choice(settings: CrossvalSettings, trainer: str) -> dict[str, Any]:
    """Return nnU-Net's choice for a trainer."""
    return dict(read_json(best_folder(settings, trainer) / CHOICE[0])["best_model_or_ensemble"])


def evaluate(settings: CrossvalSettings, subject: str) -> None:
    """Evaluate the trainers' segmentations of the validation cases or of the predicted images, and compare them."""
    if subject == CROSSVAL:
        reference = settings.raw / "labelsTr"
        if not reference.is_dir():
            reference = preprocessed_dataset(settings.dataset) / "gt_segmentations"
        chosen = [Path(read_choice(settings, trainer)["postprocessing_file"]) for trainer in settings.trainers]
        predictions = [file.parent / "postprocessed" for file in chosen]
    else:
        reference = labels_of(Path(settings.predict or ""))
        predictions = [predictions_folder(settings, trainer) / "final" for trainer in settings.trainers]
    compared = ["--compare", *predictions[1:]] if len(predictions) > 1 else []
    places = ["-ref", reference, "-pred", predictions[0], *compared, "-o", evaluation_folder(settings, subject)]
    options = ["--names", *settings.trainers, "--dataset-json", preprocessed_dataset(settings.dataset) / "dataset.json"]
    # cases of folds that weren't asked for have no prediction
    run_command("ser-nnunet", "evaluate", *places, *options, *(["--chill"] if subject == CROSSVAL else []))


def report(settings: CrossvalSettings, subject: str) -> None:
    """Write the evaluation as a page."""
    run_command("ser-nnunet", "report", evaluation_folder(settings, subject))
