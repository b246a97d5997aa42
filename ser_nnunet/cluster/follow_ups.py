"""The steps after the trainings, and whether they are done: each keeps a digest of what it was made from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ser_nnunet.cluster.crossval_settings import CrossvalSettings
from ser_nnunet.utils.files import read_json, write_json

CROSSVAL, TEST = "crossval", "test"
"""What is evaluated: the validation cases of all folds, or the predicted images."""


@dataclass(frozen=True)
class FollowUp:
    """A step after the trainings.

    Attributes:
        kind: `best`, `predict`, `evaluate` or `report`.
        subject: a trainer (best, predict), or what is evaluated.
        needs: keys of the tasks before it.
        before: the steps before it.
        shown: what a user would type.
    """

    settings: CrossvalSettings
    kind: str
    subject: str
    needs: tuple[str, ...]
    before: tuple[FollowUp, ...]
    shown: str

    @property
    def key(self) -> str:
        """Of the task."""
        return f"{self.kind}/{self.subject}"

    @property
    def marker(self) -> Path:
        """The file that says what the step was made from when it was last done."""
        return self.settings.folder / "results" / f"{self.kind}_{self.subject}.json"

    def digest(self, trainings: Mapping[str, str | None]) -> str | None:
        """Return a digest of all that the step is made from; None while something of it isn't done.

        Args:
            trainings: digests of the trainings by their keys; None for those that aren't done.
        """
        parts: list[object] = [self.kind, self.subject, self.settings.plans, self.settings.folds]
        if self.kind == "best":
            parts += [[key, trainings.get(key)] for key in self.needs]
            if any(trainings.get(key) is None for key in self.needs):
                return None
        if self.kind == "predict":
            images = Path(self.settings.predict or "")
            parts += [[file.name, file.stat().st_size] for file in sorted(images.glob("*")) if file.is_file()]
        for step in self.before:
            if not step.is_done(trainings):
                return None
            parts.append(step.digest(trainings))
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def is_done(self, trainings: Mapping[str, str | None]) -> bool:
        """Return whether the step was done with what the trainings are now."""
        try:
            made_from = read_json(self.marker)["made_from"]
        except (OSError, ValueError, KeyError, TypeError):
            return False
        return made_from is not None and made_from == self.digest(trainings)

    def mark_done(self, trainings: Mapping[str, str | None]) -> None:
        """Note that the step is done."""
        write_json(self.marker, {"made_from": self.digest(trainings)})


def list_follow_ups(settings: CrossvalSettings, trainings: Mapping[str, str]) -> Iterator[FollowUp]:
    """Yield the steps after the trainings; none for the fold `all`, which has no validation cases of its own.

    Args:
        settings: what is trained.
        trainings: key -> trainer.
    """
    if "all" in settings.folds:
        return
    best, predicted = [], []
    for trainer in settings.trainers:
        needs = tuple(key for key, by in trainings.items() if by == trainer)
        selection = f"-c {' '.join(settings.configurations)} -f {' '.join(settings.folds)} -tr {trainer}"
        shown = f"nnUNetv2_find_best_configuration {settings.dataset} {selection} -p {settings.plans}"
        best.append(FollowUp(settings, "best", trainer, needs, (), shown))
        if settings.predict is not None:
            shown = f"nnUNetv2_predict -i {settings.predict} ... by the best configuration of {trainer}"
            predicted.append(FollowUp(settings, "predict", trainer, (best[-1].key,), (best[-1],), shown))
    evaluated = {CROSSVAL: best}
    if settings.predict is not None:
        images = Path(settings.predict)
        if labels_of(images) != images and labels_of(images).is_dir():
            evaluated[TEST] = predicted
    yield from [*best, *predicted]
    for subject, before in evaluated.items():
        folder = evaluation_folder(settings, subject)
        needs = tuple(step.key for step in before)
        evaluation = FollowUp(
            settings, "evaluate", subject, needs, tuple(before), f"ser-nnunet evaluate ... -o {folder}"
        )
        yield evaluation
        yield FollowUp(settings, "report", subject, (evaluation.key,), (evaluation,), f"ser-nnunet report {folder}")


def labels_of(images: Path) -> Path:
    """Return where the reference segmentations of a folder of images lie in nnU-Net's layout: labelsTs for imagesTs.

    A folder without `images` in its name, which has no such place, is returned as it is.
    """
    return images.with_name(images.name.replace("images", "labels", 1))


def evaluation_folder(settings: CrossvalSettings, subject: str) -> Path:
    """Return where `ser-nnunet evaluate` writes."""
    return settings.folder / "results" / f"evaluation_{subject}"


def best_folder(settings: CrossvalSettings, trainer: str) -> Path:
    """Return where nnU-Net's choice for a trainer and what follows from it are kept."""
    return settings.folder / "results" / f"{trainer}__{settings.plans}"


def predictions_folder(settings: CrossvalSettings, trainer: str) -> Path:
    """Return where a trainer's predictions are: a folder per configuration, and `final`."""
    return best_folder(settings, trainer) / "predictions"
