"""The choices of an evaluation; all of them are written into its output."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from ser_nnunet.errors import UserError
from ser_nnunet.evaluation.definitions import ALWAYS, GROUPS, Metric, MetricGroup

MOST_STRATA = 50
MOST_RESAMPLES = 1_000_000
"""More would take hours: an interval per method, class and metric."""

DETECTION_RULES = ("overlap", "iou")
EMPTY_DISTANCES = ("diagonal", "undefined")

# nnDetection's threshold for small structures; for `overlap` a single shared voxel is enough (ISBI 2015's rule).
DEFAULT_MIN_OVERLAP = {"overlap": 0.0, "iou": 0.1}


@dataclass(frozen=True)
class Settings:
    """The choices of one evaluation.

    Attributes:
        groups: which metrics, out of `definitions.GROUPS`; overlap and volumes are always computed.
        tolerance_mm: NSD's tolerance in mm, for every class that `class_tolerance_mm` doesn't name.
        class_tolerance_mm: NSD's tolerance in mm by class name.
        lesion_classes: the classes whose lesions are counted: their names; `all`; or `auto`, which are those named as
            lesions and those with several components in most references (see `lesion_classes.py`).
        detection: how lesions are matched, out of `DETECTION_RULES` (see `lesions.py`).
        min_overlap: the rule's threshold, a fraction in [0, 1]; None takes `DEFAULT_MIN_OVERLAP`.
        min_lesion_voxels: lesions smaller than this many voxels are not counted.
        strata: edges of the size strata in voxels, rising; (10, 100) gives <10, 10-99 and >=100.
        empty_distance: distance when just one of two masks is empty: the image's diagonal, or undefined.
        bootstrap: number of resamples of the intervals.
        confidence: of the intervals.
        seed: of the resampling.

    Raises:
        UserError: with all values that are out of range.
    """

    groups: tuple[str, ...] = field(default_factory=lambda: tuple(GROUPS))
    tolerance_mm: float = 1.0
    class_tolerance_mm: Mapping[str, float] = field(default_factory=dict)
    lesion_classes: tuple[str, ...] | Literal["auto", "all"] = "auto"
    detection: str = "overlap"
    min_overlap: float | None = None
    min_lesion_voxels: int = 1
    strata: tuple[int, ...] = (10, 100)
    empty_distance: str = "diagonal"
    bootstrap: int = 2000
    confidence: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        tolerances = [self.tolerance_mm, *self.class_tolerance_mm.values()]
        tolerance = next((each for each in tolerances if not 0 < each < math.inf), self.tolerance_mm)
        rising = bool(self.strata) and list(self.strata) == sorted(set(self.strata)) and self.strata[0] > 1
        overlap, smallest, resamples = self.min_overlap, self.min_lesion_voxels, self.bootstrap
        unknown = sorted(set(self.groups) - set(GROUPS))
        faults = {
            f"unknown metrics {', '.join(unknown)}; there are {', '.join(GROUPS)}": bool(unknown),
            f"detection is one of {', '.join(DETECTION_RULES)}, not {self.detection}": (
                self.detection not in DETECTION_RULES
            ),
            f"empty_distance is one of {', '.join(EMPTY_DISTANCES)}, not {self.empty_distance}": (
                self.empty_distance not in EMPTY_DISTANCES
            ),
            f"NSD's tolerance must be above 0 mm and finite, not {tolerance}": not 0 < tolerance < math.inf,
            f"the minimal overlap lies in 0 to 1, not {overlap}": not 0 <= (overlap or 0) <= 1,
            f"lesions have at least 1 voxel, not {smallest}": smallest < 1,
            f"the strata need rising edges above 1, not {list(self.strata)[:10]}": not rising,
            f"at most {MOST_STRATA} strata's edges are possible, not {len(self.strata)}": len(self.strata)
            > MOST_STRATA,
            f"100 to {MOST_RESAMPLES:,} bootstrap resamples are possible, not {resamples:,}": (
                not 100 <= resamples <= MOST_RESAMPLES
            ),
            f"lesions are counted for auto, all, or a tuple of classes, not {self.lesion_classes}": (
                isinstance(self.lesion_classes, str) and self.lesion_classes not in ("auto", "all")
            ),
            f"the seed is at least 0 and below 2**63, not {self.seed}": not 0 <= self.seed < 2**63,
            f"the confidence lies between 0 and 1, not {self.confidence}": not 0 < self.confidence < 1,
        }
        problems = [problem for problem, wrong in faults.items() if wrong]
        if problems:
            raise UserError("these settings cannot be used:\n" + "\n".join(f"  {problem}" for problem in problems))

    @property
    def metric_groups(self) -> dict[str, MetricGroup]:
        """The chosen groups in the order of the columns; without lesion classes, none that counts lesions."""
        chosen = {name: group for name, group in GROUPS.items() if name == ALWAYS or name in self.groups}
        return {name: group for name, group in chosen.items() if self.lesion_classes or not group.by_lesion_size}

    @property
    def metrics(self) -> list[Metric]:
        """The metrics of the chosen groups, in the order of the columns."""
        return [metric for group in self.metric_groups.values() for metric in group.columns(self.stratum_names)]

    def metrics_of(self, class_name: str) -> list[Metric]:
        """The metrics of a class, in the order of the columns: those that count lesions for `lesion_classes` alone."""
        counted = self.lesion_classes in ("auto", "all") or class_name in self.lesion_classes
        groups = [group for group in self.metric_groups.values() if counted or not group.by_lesion_size]
        return [metric for group in groups for metric in group.columns(self.stratum_names)]

    @property
    def threshold(self) -> float:
        """The detection rule's minimal overlap, a fraction in [0, 1]."""
        return DEFAULT_MIN_OVERLAP[self.detection] if self.min_overlap is None else self.min_overlap

    @property
    def stratum_names(self) -> list[str]:
        """For example `["<10", "10-99", ">=100"]`."""
        inner = [f"{low}-{high - 1}" for low, high in zip(self.strata, self.strata[1:], strict=False)]
        return [f"<{self.strata[0]}", *inner, f">={self.strata[-1]}"]

    def check_classes(self, classes: Collection[str]) -> None:
        """Raise `UserError` if a tolerance or `lesion_classes` names a class that the data set doesn't have."""
        named = {"a tolerance is given": set(self.class_tolerance_mm)}
        if not isinstance(self.lesion_classes, str):
            named["lesions should be counted"] = set(self.lesion_classes)
        problems = [
            f"{what} for {', '.join(sorted(names - set(classes)))}"
            for what, names in named.items()
            if names - set(classes)
        ]
        if problems:
            raise UserError(f"{'; '.join(problems)}; but the classes are {', '.join(classes)}")

    def tolerance(self, class_name: str) -> float:
        """NSD's tolerance of a class, in mm."""
        return self.class_tolerance_mm.get(class_name, self.tolerance_mm)

    def as_json(self) -> dict[str, Any]:
        """All choices, the threshold resolved."""
        return asdict(self) | {"class_tolerance_mm": dict(self.class_tolerance_mm), "min_overlap": self.threshold}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Settings:
        """The inverse of `as_json`."""
        kept: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
        }
        return cls(**kept)
