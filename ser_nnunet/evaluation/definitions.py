"""Every metric's name, unit, direction and meaning, in the order in which they are written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ser_nnunet.evaluation.settings import Settings

Better = Literal["higher", "lower", "none"]


@dataclass(frozen=True)
class Metric:
    """One column of the tables.

    Attributes:
        name: of the column; mm and ml are part of it.
        title: for people.
        unit: empty for a fraction or a count.
        better: which direction is good; `none` for what only describes.
        meaning: one sentence.
        headline: whether it stands in the short tables and is tested between methods.
    """

    name: str
    title: str
    unit: str
    better: Better
    meaning: str
    headline: bool = True


OVERLAP = [
    Metric("Dice", "Dice", "", "higher", "2 TP / (2 TP + FP + FN), voxels counted by nnU-Net"),
    Metric("IoU", "IoU", "", "higher", "TP / (TP + FP + FN)", headline=False),
    Metric("sensitivity", "Sensitivity", "", "higher", "TP / (TP + FN), of voxels"),
    Metric("precision", "Precision", "", "higher", "TP / (TP + FP), of voxels"),
    Metric("reference_ml", "Reference volume", "ml", "none", "volume of the reference", headline=False),
    Metric("prediction_ml", "Predicted volume", "ml", "none", "volume of the prediction", headline=False),
    Metric("volume_difference_ml", "Volume difference", "ml", "none", "prediction - reference", headline=False),
    Metric("absolute_volume_difference_ml", "Absolute volume difference", "ml", "lower", "|prediction - reference|"),
]

SURFACE = [
    Metric("HD_mm", "Hausdorff distance", "mm", "lower", "largest distance between the surfaces", headline=False),
    Metric("HD95_mm", "HD95", "mm", "lower", "the larger of the two directions' 95th percentiles"),
    Metric("ASSD_mm", "ASSD", "mm", "lower", "mean distance over both surfaces' voxels"),
    Metric("NSD", "NSD", "", "higher", "fraction of both surfaces within the tolerance of the other"),
]

LESIONS = [
    Metric(
        "lesions_reference", "Reference lesions", "", "none", "connected components of the reference", headline=False
    ),
    Metric(
        "lesions_predicted", "Predicted lesions", "", "none", "connected components of the prediction", headline=False
    ),
    Metric("lesions_found", "Found lesions", "", "none", "reference lesions that the prediction meets", headline=False),
    Metric("lesions_missed", "Missed lesions", "", "lower", "reference lesions that it does not meet", headline=False),
    Metric("lesions_false", "False lesions", "", "lower", "predicted lesions that meet no reference", headline=False),
    Metric("lesion_sensitivity", "Lesion sensitivity", "", "higher", "found / reference lesions"),
    Metric("lesion_precision", "Lesion precision", "", "higher", "true / predicted lesions"),
    Metric("lesion_F1", "Lesion F1", "", "higher", "harmonic mean of lesion sensitivity and precision"),
]


F1_IN_STRATUM = (
    "2 TP / (2 TP + FN + FP): TP and FN are the found and the missed reference lesions of this size, FP the false"
    " predicted lesions of this size"
)


def metrics_of(settings: Settings) -> list[Metric]:
    """Return the metrics of an evaluation in the order of its columns; the strata's metrics come last."""
    metrics = list(OVERLAP)
    if "surface" in settings.groups:
        metrics += SURFACE
    if "lesions" in settings.groups:
        metrics += LESIONS
        metrics += [_in_stratum(metric, stratum) for stratum in settings.stratum_names for metric in LESIONS]
    return metrics


def stratified(name: str, stratum: str) -> str:
    """Return the column of a lesion metric within a size stratum, for example `lesion_F1[10-99]`."""
    return f"{name}[{stratum}]"


def _in_stratum(metric: Metric, stratum: str) -> Metric:
    title = f"{metric.title}, {stratum} voxels"
    meaning = F1_IN_STRATUM if metric.name == "lesion_F1" else metric.meaning
    return Metric(stratified(metric.name, stratum), title, metric.unit, metric.better, meaning, headline=False)
