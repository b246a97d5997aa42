"""The metrics: names, units, directions, meanings, and the module that measures each group of them.

A new metric needs an entry here and its value in the module of its group; a new group needs an entry in `GROUPS` and a
module with `measure(masks, settings) -> Measurement` and `describe_rules(settings) -> str`. The tables, the statistics,
the report and the command line's `--metrics` follow from these entries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Better = Literal["higher", "lower", "none"]

F1_IN_STRATUM = (
    "2 TP / (2 TP + FN + FP): TP and FN are the found and the missed reference lesions of this size, FP the false"
    " predicted lesions of this size"
)
MATCHED = "one reference and one predicted lesion match if their IoU is above 0.5"


@dataclass(frozen=True)
class Metric:
    """One column of the tables.

    Attributes:
        name: of the column, with the unit where there is one (mm, ml).
        title: heading in the short tables, the charts and the report.
        unit: empty for a fraction or a count.
        better: which direction is good; `none` for a metric that only describes.
        meaning: one sentence.
        headline: whether it is in the short tables and the charts, and tested between methods.
        in_case_table: whether the report's table of cases shows it; it shows every headline metric.
        in_case_figures: whether the report shows it below the images of a case.
        is_count: whether it is a whole number.
        meaning_in_stratum: the meaning within a size stratum, if it differs.
    """

    name: str
    title: str
    unit: str
    better: Better
    meaning: str
    headline: bool = True
    in_case_table: bool = False
    in_case_figures: bool = False
    is_count: bool = False
    meaning_in_stratum: str = ""


@dataclass(frozen=True)
class Measurement:
    """What a group measured for one class of one case.

    Attributes:
        values: every metric of the group (by size stratum, too, if the group has strata); NaN where undefined.
        lesions: rows for the table of lesions, if the group lists lesions.
    """

    values: dict[str, float]
    lesions: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class MetricGroup:
    """Metrics that one module measures together.

    Attributes:
        module: has `measure` and `describe_rules` (see above); imported when the group is measured.
        metrics: in the order of the columns.
        by_lesion_size: whether the metrics count lesions: they are measured for `Settings.lesion_classes` alone, and
            repeated for each size stratum of `Settings.strata`.
        packages: whose versions are recorded with the results.
        preload: modules that `measure` imports slowly, loaded once for all processes.
        bytes_per_voxel: measured peak memory per voxel of an image that is filled by its masks.
    """

    module: str
    metrics: tuple[Metric, ...]
    by_lesion_size: bool = False
    packages: tuple[str, ...] = ()
    preload: tuple[str, ...] = ()
    bytes_per_voxel: int = 24

    def columns(self, strata: Sequence[str]) -> list[Metric]:
        """Return the metrics, and those within each size stratum after them if the group has strata."""
        repeated = [_in_stratum(metric, stratum) for stratum in strata for metric in self.metrics]
        return [*self.metrics, *(repeated if self.by_lesion_size else [])]


def stratum_column(name: str, stratum: str) -> str:
    """Return the column of a lesion metric within a size stratum, for example `lesion_F1[10-99]`."""
    return f"{name}[{stratum}]"


def _in_stratum(metric: Metric, stratum: str) -> Metric:
    return replace(
        metric,
        name=stratum_column(metric.name, stratum),
        title=f"{metric.title}, {stratum} voxels",
        meaning=metric.meaning_in_stratum or metric.meaning,
        headline=False,
        in_case_table=False,
        in_case_figures=False,
    )


# fmt: off
OVERLAP = MetricGroup(
    "ser_nnunet.evaluation.overlap",
    (
        Metric("Dice", "Dice", "", "higher", "2 TP / (2 TP + FP + FN), voxels counted by nnU-Net",
               in_case_figures=True),
        Metric("IoU", "IoU", "", "higher", "TP / (TP + FP + FN)", headline=False),
        Metric("sensitivity", "Sensitivity", "", "higher", "TP / (TP + FN), of voxels"),
        Metric("precision", "Precision", "", "higher", "TP / (TP + FP), of voxels"),
        Metric("reference_ml", "Reference volume", "ml", "none", "volume of the reference",
               headline=False, in_case_table=True, in_case_figures=True),
        Metric("prediction_ml", "Predicted volume", "ml", "none", "volume of the prediction",
               headline=False, in_case_table=True, in_case_figures=True),
        Metric("volume_difference_ml", "Volume difference", "ml", "none", "prediction - reference", headline=False),
        Metric("absolute_volume_difference_ml", "Absolute volume difference", "ml", "lower",
               "|prediction - reference|"),
    ),
    bytes_per_voxel=8,
)

SURFACE = MetricGroup(
    "ser_nnunet.evaluation.surface",
    (
        Metric("HD_mm", "Hausdorff distance", "mm", "lower", "largest distance between the surfaces",
               headline=False, in_case_table=True),
        Metric("HD95_mm", "HD95", "mm", "lower", "the larger of the two directions' 95th percentiles",
               in_case_figures=True),
        Metric("ASSD_mm", "ASSD", "mm", "lower", "mean distance over both surfaces' voxels"),
        Metric("NSD", "NSD", "", "higher", "fraction of both surfaces within the tolerance of the other",
               in_case_figures=True),
    ),
    packages=("monai",),
    preload=("monai.metrics",),
    bytes_per_voxel=160,
)

LESIONS = MetricGroup(
    "ser_nnunet.evaluation.lesions",
    (
        Metric("lesions_reference", "Reference lesions", "", "none", "connected components of the reference",
               headline=False, is_count=True),
        Metric("lesions_predicted", "Predicted lesions", "", "none", "connected components of the prediction",
               headline=False, is_count=True),
        Metric("lesions_found", "Found lesions", "", "none", "reference lesions that the prediction detects",
               headline=False, in_case_table=True, in_case_figures=True, is_count=True),
        Metric("lesions_missed", "Missed lesions", "", "lower", "reference lesions that it does not detect",
               headline=False, in_case_table=True, in_case_figures=True, is_count=True),
        Metric("lesions_false", "False lesions", "", "lower", "predicted lesions that match no reference lesion",
               headline=False, in_case_table=True, in_case_figures=True, is_count=True),
        Metric("lesion_sensitivity", "Lesion sensitivity", "", "higher", "found / reference lesions"),
        Metric("lesion_precision", "Lesion precision", "", "higher", "true / predicted lesions"),
        Metric("lesion_F1", "Lesion F1", "", "higher", "harmonic mean of lesion sensitivity and precision",
               meaning_in_stratum=F1_IN_STRATUM),
        Metric("PQ", "Panoptic quality", "", "higher", f"sum of the matches' IoU / (TP + FP / 2 + FN / 2); {MATCHED}"),
        Metric("SQ", "Segmentation quality", "", "higher", f"mean IoU of the matches; {MATCHED}",
               headline=False, in_case_table=True),
        Metric("RQ", "Recognition quality", "", "higher", f"TP / (TP + FP / 2 + FN / 2); {MATCHED}",
               headline=False, in_case_table=True),
        Metric("lesion_Dice", "Dice per lesion", "", "higher", f"mean Dice of the matches; {MATCHED}"),
    ),
    by_lesion_size=True,
    packages=("connected-components-3d",),
    bytes_per_voxel=28,
)
# fmt: on

ALWAYS = "overlap"  # every evaluation has its metrics
GROUPS = {ALWAYS: OVERLAP, "surface": SURFACE, "lesions": LESIONS}
"""Groups of metrics by the name after `--metrics`."""
"""The groups by their name in `Settings.groups` and `--metrics`, in the order of the columns."""
