"""The table of cases: what a data set is, which volumes a case has, and where each of them comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import SimpleITK as sitk
from ser_nnunet.dataset_conversion.core.problems import Problem

if TYPE_CHECKING:
    from ser_nnunet.dataset_conversion.core.case_checks import Examination

LABEL = "label"
"""The role of a segmentation; every other role is the name of an image channel."""

CaseCheck = Callable[["Case", "Volume", sitk.Image | None, sitk.Image], Iterator[Problem]]
"""A check of one data set: (case, label's source, first channel, label as it will be written) -> problems.

The channel lies on the label's grid; it is None where none can be read or the label lies elsewhere.
"""

CohortCheck = Callable[["Sequence[Examination]"], Iterator[Problem]]
"""A check of one data set across its cases."""


@dataclass(frozen=True)
class Volume:
    """One 3D image in the source: a file, one component of a 4D file, or a folder that holds one DICOM series."""

    path: Path
    component: int | None = None
    """Index along the fourth axis of a 4D file; None for a 3D file."""
    components: int | None = None
    """Number of components that a 4D file must have."""
    twin: Path | None = None
    """The same image, unpacked (`.nii`) beside the packed file: must hold the same voxels."""
    borrows_header: bool = False
    """The array is right and the header known to be wrong: the image's header replaces it."""


@dataclass(frozen=True)
class Case:
    """One row of the table: the images (in channel order) and the label of one scan."""

    name: str
    patient: str
    images: Mapping[str, Volume]
    label: Volume | None
    split: str = "train"
    site: str = ""
    spares: tuple[tuple[str, Volume], ...] = ()
    """Role and volume of further copies, which are a problem of their own: examined, never written."""

    def volumes(self) -> dict[str, Volume]:
        """All volumes by role, the label last."""
        return {**self.images, **({LABEL: self.label} if self.label else {})}


@dataclass(frozen=True)
class Description:
    """What a converter declares about its data set; most of it ends up in `dataset.json`."""

    name: str
    title: str
    licence: str
    citation: str
    reference: str
    channels: Mapping[str, str]
    """Role -> channel name for nnU-Net, in channel order. The name `CT` makes nnU-Net normalise as CT."""
    labels: Mapping[str, int | tuple[int, ...]]
    """As in `dataset.json`: a value per class, or the values of a region."""
    values: Mapping[int, int]
    """Label value in the source -> value to write. A value that isn't here is refused."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Cases that the official release has, per split (`train`, `test`)."""
    regions_class_order: tuple[int, ...] | None = None
    positive_is_foreground: bool = False
    """Every positive label value becomes 1, whatever `values` says."""
    empty_masks: bool = False
    """Whether a label without foreground is only listed (True) or refused (False)."""
    modality: str = "MRI"
    release: str = ""
    notes: tuple[str, ...] = ()
    """Sentences for the user's eyes: what must be known before training on this set."""
    case_checks: tuple[CaseCheck, ...] = ()
    cohort_checks: tuple[CohortCheck, ...] = ()


@dataclass(frozen=True)
class Options:
    """What the user chose on the command line."""

    channels: tuple[str, ...] | None = None
    classes: str = "shipped"
    exclude: frozenset[str] = frozenset()


@dataclass
class Table:
    """What `find` of a converter returns: all cases, and the problems met while pairing the files."""

    description: Description
    cases: list[Case]
    problems: list[Problem] = field(default_factory=list)
    without_images: list[Case] = field(default_factory=list)
    """Cases of which only the label is there: no rows of the table, but the user may leave them out by name."""
