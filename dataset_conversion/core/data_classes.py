"""The data classes that all converters share: volumes, cases, what is known of a data set, and what checks found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import SimpleITK as sitk

from ser_nnunet.utils.geometry import Grid

LABEL = "label"
"""The role of a segmentation; every other role is the name of an image channel."""
UNLABELLED = "unlabelled"
"""The split of training cases without annotation: all voxels of their labels are ignored."""


@dataclass(frozen=True, order=True)
class Problem:
    """A fault, or a note if it isn't `fatal`. Nothing is written as long as there is a fatal one."""

    kind: str
    """What is wrong, such as `geometry`; problems are listed by kind."""
    case: str
    """Empty if it concerns the whole data set."""
    text: str
    """Names the file, what was expected and what was found."""
    fatal: bool = True
    """Whether it keeps everything from being written."""


@dataclass(frozen=True)
class Volume:
    """One 3D image in the source: a file, one component of a 4D file, or a folder that holds one DICOM series."""

    path: Path
    component: int | None = None
    """Index along the fourth axis of a 4D file; None for a 3D file."""
    components: int | None = None
    """Number of components that a 4D file must have."""
    reader: str = ""
    """nnU-Net's reader of a file that is already in its raw format, such as `SimpleITKIO`; empty for a download.

    Such a file is taken as it is stored: nothing reorders its axes, and it may be 2D or RGB.
    """
    uncompressed_copy: Path | None = None
    """A `.nii` file beside the `.nii.gz` file of the same name: must hold the same voxels."""
    header_of: Path | None = None
    """The array is right and the header known to be wrong: that of this file replaces it."""


@dataclass(frozen=True)
class Case:
    """One row of the table of cases: the images (in channel order) and the label of one scan."""

    name: str
    patient: str
    images: Mapping[str, Volume]
    label: Volume | None
    split: str = "train"
    """`train`, `test` or `UNLABELLED`."""
    site: str = ""
    duplicates: tuple[tuple[str, Volume], ...] = ()
    """Role and volume of further files with a role that is already taken: checked and reported, never written."""

    def volumes(self) -> dict[str, Volume]:
        """Return all volumes by role, the label last."""
        return {**self.images, **({LABEL: self.label} if self.label else {})}


@dataclass
class VolumeFacts:
    """What the checks found out about one volume; most of it goes into `conversion.json`."""

    role: str
    name: str
    """Its file, or the folder around a series, as messages name it."""
    sources: dict[str, str]
    """Source file -> SHA-256: one file, a `.mhd` and its `.raw`, or every slice of a series."""
    grid: Grid
    """The grid on which it will be written."""
    voxel_hash: str
    """Of the voxels in the order in which they will be written."""
    voxel_hash_stored: str
    """Of the voxels in the order in which the source stores them: equal for one array under two headers."""
    voxel_hash_lps: str
    """Of the voxels with the axes in LPS order: equal for one scan stored as LAS and as RAS."""
    value_range: tuple[float, float] = (0.0, 0.0)
    """Of an image: least and greatest value."""
    values_inside: tuple[float, float, float] | None = None
    """For a label: 5th, 50th and 95th percentile of the first channel in the foreground, if that can be read."""
    is_empty: bool = False
    """Whether this is a label without foreground. Such labels are equal without being copies of each other."""
    is_unannotated: bool = False
    """Whether this is a label all of whose voxels are ignored."""
    changes: list[str] = field(default_factory=list)
    """Empty for a file that is copied as it is."""
    value_counts: dict[int, int] = field(default_factory=dict)
    """For a label: voxels of each value in the source."""


@dataclass
class CaseReport:
    """What the checks found out about one case."""

    case: str
    facts: list[VolumeFacts] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


CaseCheck = Callable[[Case, Volume, sitk.Image | None, sitk.Image], Iterator[Problem]]
"""A check of one data set: (case, label's source, first channel, label as it will be written) -> problems.

The channel lies on the label's grid; it is None where none can be read or the label lies elsewhere.
"""

CohortCheck = Callable[[Sequence[CaseReport]], Iterator[Problem]]
"""A check of one data set across its cases."""


@dataclass(frozen=True)
class DatasetInfo:
    """What a converter declares about its data set; most of it goes into `dataset.json`."""

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
    """Label value in the source -> value to write. Any other value is refused."""
    official_counts: Mapping[str, int] = field(default_factory=dict)
    """Cases that the official release has, per split (`train`, `test`)."""
    regions_class_order: tuple[int, ...] | None = None
    positive_is_foreground: bool = False
    """Every positive label value becomes 1, regardless of `values`."""
    allow_empty_masks: bool = False
    """Whether a label without foreground is noted (True) or refused (False)."""
    allow_shared_masks: bool = False
    """Whether the same label in two scans of one patient is noted (True) or refused (False)."""
    orientation: str = ""
    """Order of axes that every case is brought to, such as `LPS`; empty where they stay as they are stored."""
    release: str = ""
    notes: tuple[str, ...] = ()
    """What users must know before they train on this data set, in sentences."""
    case_checks: tuple[CaseCheck, ...] = ()
    cohort_checks: tuple[CohortCheck, ...] = ()
    advice: Mapping[str, str] = field(default_factory=dict)
    """What to do about the kinds of problems that only this data set's own checks report."""


@dataclass
class CaseTable:
    """What `find` of a converter returns: all cases, and the problems met while pairing the files."""

    info: DatasetInfo
    cases: list[Case]
    problems: list[Problem] = field(default_factory=list)
    without_images: list[Case] = field(default_factory=list)
    """Cases of which only the label exists: checked and reported, and can be excluded by name."""


@dataclass(frozen=True)
class Options:
    """What the user chose among the things that a data set offers."""

    channels: tuple[str, ...] | None = None
    """None for all channels."""
    classes: str = "shipped"
    """`shipped`, `merged` or `regions`."""
    layout: object = None
    """What the files are, for data sets that only the user knows: `folders.FolderLayout`, `bids.BidsLayout`."""


@dataclass
class ConversionReport:
    """What a conversion did, or would do: `folder` is None for a dry run."""

    name: str
    """`DatasetXXX_Name`."""
    info: DatasetInfo
    """What the converter declares about the data set."""
    cases: list[Case]
    """The table of cases, in the order of their names."""
    notes: list[Problem]
    """Problems that are not fatal."""
    folder: Path | None = None
    """The data set's folder in nnUNet_raw."""
    splits: list[dict[str, list[str]]] = field(default_factory=list)
    """As in nnU-Net's `splits_final.json`."""
