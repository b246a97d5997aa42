"""What can be chosen about an evaluation; everything here is written into its output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ser_nnunet.errors import UserError

GROUPS = ("overlap", "surface", "lesions")
DETECTION_RULES = ("overlap", "iou")
EMPTY_DISTANCES = ("diagonal", "undefined")

# nnDetection's threshold for small structures; for `overlap` a single shared voxel is enough (ISBI 2015's rule).
DEFAULT_MIN_OVERLAP = {"overlap": 0.0, "iou": 0.1}


@dataclass(frozen=True)
class Settings:
    """The choices of one evaluation.

    Attributes:
        groups: which metrics, out of `GROUPS`; overlap and volumes are always computed.
        tolerance_mm: NSD's tolerance in mm, for every class that `class_tolerance_mm` doesn't name.
        class_tolerance_mm: NSD's tolerance in mm by class name.
        detection: how lesions are matched, out of `DETECTION_RULES` (see `lesions.py`).
        min_overlap: the rule's threshold, a fraction in [0, 1]; None takes `DEFAULT_MIN_OVERLAP`.
        min_lesion_voxels: lesions smaller than this many voxels are not counted.
        strata: edges of the size strata in voxels, rising; (10, 100) gives <10, 10-99 and >=100.
        empty_distance: distance when just one of two masks is empty: the image's diagonal, or undefined.
        bootstrap: number of resamples of the intervals.
        confidence: of the intervals.
        seed: of the resampling.
    """

    groups: tuple[str, ...] = GROUPS
    tolerance_mm: float = 1.0
    class_tolerance_mm: Mapping[str, float] = field(default_factory=dict)
    detection: str = "overlap"
    min_overlap: float | None = None
    min_lesion_voxels: int = 1
    strata: tuple[int, ...] = (10, 100)
    empty_distance: str = "diagonal"
    bootstrap: int = 2000
    confidence: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise `UserError` with everything that is out of range."""
        problems = [problem for problem in self._problems() if problem]
        if problems:
            raise UserError("these settings cannot be used:\n" + "\n".join(f"  {problem}" for problem in problems))

    def _problems(self) -> list[str]:
        tolerances = [self.tolerance_mm, *self.class_tolerance_mm.values()]
        edges = self.strata
        return [
            _unknown("metrics", set(self.groups) - set(GROUPS), GROUPS),
            _unknown("detection rule", {self.detection} - set(DETECTION_RULES), DETECTION_RULES),
            _unknown("empty distance", {self.empty_distance} - set(EMPTY_DISTANCES), EMPTY_DISTANCES),
            "" if min(tolerances) > 0 else f"NSD's tolerance must be above 0 mm, not {min(tolerances)}",
            "" if 0 <= (self.min_overlap or 0) <= 1 else f"the minimal overlap lies in 0 to 1, not {self.min_overlap}",
            "" if self.min_lesion_voxels >= 1 else f"lesions have at least 1 voxel, not {self.min_lesion_voxels}",
            ""
            if edges and list(edges) == sorted(set(edges)) and edges[0] > 1
            else f"the strata need rising edges above 1, not {list(edges)}",
            "" if self.bootstrap >= 100 else f"at least 100 bootstrap resamples are needed, not {self.bootstrap}",
            "" if 0 < self.confidence < 1 else f"the confidence lies between 0 and 1, not {self.confidence}",
        ]

    @property
    def threshold(self) -> float:
        """The detection rule's minimal overlap, a fraction in [0, 1]."""
        return DEFAULT_MIN_OVERLAP[self.detection] if self.min_overlap is None else self.min_overlap

    @property
    def stratum_names(self) -> list[str]:
        """For example `["<10", "10-99", ">=100"]`."""
        inner = [f"{low}-{high - 1}" for low, high in zip(self.strata, self.strata[1:], strict=False)]
        return [f"<{self.strata[0]}", *inner, f">={self.strata[-1]}"]

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


def _unknown(what: str, names: set[str], known: tuple[str, ...]) -> str:
    return f"unknown {what} {', '.join(sorted(names))}; there are {', '.join(known)}" if names else ""
