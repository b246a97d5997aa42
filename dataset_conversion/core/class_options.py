"""Classes and values of a data set that the user describes: `--labels lesion=1`, `--map 255=1`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ser_nnunet.dataset_conversion.core.ct_values import (
    HounsfieldUnitsCheck,
    find_ct_channels,
    find_odd_hounsfield_values,
)
from ser_nnunet.dataset_conversion.core.data_classes import CohortCheck, DatasetInfo
from ser_nnunet.dataset_conversion.core.mask_position import MaskPositionCheck
from ser_nnunet.dataset_conversion.core.problems import EXCLUDE
from ser_nnunet.errors import UserError
from ser_nnunet.nnunet.region_order import IGNORE, describe_wrong_order, list_regions

LARGEST_VALUE = 255
"""Labels are written as uint8."""

ADVICE = {
    "missing image": f"add the file, correct or leave out its --channel, {EXCLUDE}",
    "duplicate case": "tell the files apart: {time} for several scans of a patient, an entity such as run-1 in BIDS; "
    "or move one of them out of SOURCE",
    "label value": f"declare the value in --labels, or change it with --map FOUND=WRITTEN, {EXCLUDE}",
    "empty mask": f"accept cases without foreground with --allow-empty-masks, {EXCLUDE}",
    "geometry": f"register or resample the images onto the grid of the first channel before, {EXCLUDE}",
    "unreadable": f"copy it again from where it is whole, {EXCLUDE}",
    "components": f"store one 3D image per channel and file, and labels with one value per voxel, {EXCLUDE}",
    "non-integer label": "a label was scaled, or resampled with interpolation: resample it with nearest neighbours, "
    f"{EXCLUDE}",
    "NaN or Inf": f"replace these voxels, for example by 0 (numpy.nan_to_num), {EXCLUDE}",
    "duplicate image": "one of the two is a copy under another name: remove it, correct the pattern if it is the same "
    f"scan, {EXCLUDE}",
    "duplicate label": "one of the two is a copy under another name: compare both with their images; scans of one "
    f"patient may share a mask, {EXCLUDE}",
    "Hounsfield values": "look at the case: the label may lie elsewhere, or the image be in other units",
    "constant image": f"an image of one value holds no information; leave the channel out, {EXCLUDE}",
    "Hounsfield units": f"apply slope and intercept of the DICOM files, name the channel otherwise, {EXCLUDE}",
    "BIDS name": "move or rename the file",
    "mask position": "look at the case: its label may be flipped or turned",
}


@dataclass(frozen=True)
class Description:
    """What the user tells of a data set that no converter knows: classes, values, and where it is from.

    Attributes:
        labels: class -> value, or the values of a region, as in nnU-Net's dataset.json; `background` may be left out.
        regions_class_order: as in dataset.json, a value per region in the order of `labels`; with regions alone.
        value_map: value in the files -> value to write, for those that differ.
        allow_empty_masks: whether cases without foreground are expected.
        licence: of the data.
        citation: what users must cite.
        reference: where it is from.
    """

    labels: Mapping[str, int | tuple[int, ...]]
    regions_class_order: tuple[int, ...] | None = None
    value_map: Mapping[int, int] = field(default_factory=dict)
    allow_empty_masks: bool = False
    licence: str = ""
    citation: str = ""
    reference: str = ""


def describe_dataset(description: Description, name: str, title: str, channels: tuple[str, ...]) -> DatasetInfo:
    """Return what the checks and dataset.json need; raises `UserError` for classes that nnU-Net refuses or loses."""
    labels = {"background": 0, **description.labels}
    values = sorted({value for each in labels.values() for value in ([each] if isinstance(each, int) else each)})
    faults = []
    if labels["background"] != 0:
        faults.append("background must be 0")
    if len(labels) < 2:
        faults.append("at least one class besides background is needed")
    if values != list(range(len(values))):
        faults.append(f"the values are {', '.join(map(str, values))}, nnU-Net needs 0, 1, 2, ... without a gap (--map)")
    if values[-1] > LARGEST_VALUE:
        faults.append(f"the largest value is {values[-1]}, at most {LARGEST_VALUE} are possible")
    if labels.get(IGNORE, values[-1]) != values[-1]:
        faults.append(f"{IGNORE} must be the highest value, {values[-1]}")
    faults += find_region_faults(labels, description.regions_class_order)
    if wrong := sorted(set(description.value_map.values()) - set(values)):
        faults.append(f"--map leads to {', '.join(map(str, wrong))}, which no class has")
    if faults:
        raise UserError("--labels: " + "; ".join(faults))
    ignore = labels.get(IGNORE)
    info = DatasetInfo(
        name=name,
        title=title,
        licence=description.licence or "not stated",
        citation=description.citation,
        reference=description.reference,
        channels={channel: channel for channel in channels},
        labels=labels,
        values={**{value: value for value in values}, **description.value_map},
        regions_class_order=description.regions_class_order,
        allow_empty_masks=description.allow_empty_masks,
        allow_shared_masks=True,
        advice=ADVICE,
        case_checks=(MaskPositionCheck(ignore if isinstance(ignore, int) else None),),
    )
    return add_general_checks(info)


def find_region_faults(labels: Mapping[str, int | tuple[int, ...]], order: tuple[int, ...] | None) -> list[str]:
    """Return what is wrong with the values of regions: their number, or masks in which regions would be lost."""
    regions = list_regions(labels)
    if not regions:
        text = "--regions-class-order is for regions, such as --labels whole=1,2 core=2"
        return [] if order is None else [text]
    if order is None or len(order) != len(regions):
        text = f"regions need --regions-class-order with {len(regions)} values, one per class in the order of --labels"
        return [f"{text}, outermost first"]
    wrong = describe_wrong_order(regions, order)
    return [] if wrong is None else [wrong]


def add_general_checks(info: DatasetInfo) -> DatasetInfo:
    """Return the data set with the checks of CT values across cases, if it has a channel of CT."""
    checks: list[CohortCheck] = [*info.cohort_checks]
    if ct_channels := find_ct_channels(info):
        checks.append(HounsfieldUnitsCheck(ct_channels))
        if next(iter(info.channels)) == ct_channels[0]:
            checks.append(find_odd_hounsfield_values)
    return replace(info, cohort_checks=tuple(checks))


def parse_labels(words: list[str]) -> dict[str, int | tuple[int, ...]]:
    """Return `{"lesion": 1, "whole": (1, 2)}` for `["lesion=1", "whole=1,2"]`; raises `UserError`."""
    labels: dict[str, int | tuple[int, ...]] = {}
    for word in words:
        name, _, text = word.rpartition("=")
        if not name or not re.fullmatch(r"\d{1,3}(,\d{1,3})*", text):
            raise UserError(f"--labels {word}: NAME=VALUE expected, such as lesion=1, or whole=1,2 for a region")
        if name in labels:
            raise UserError(f"--labels names {name} twice")
        values = tuple(int(value) for value in text.split(","))
        labels[name] = values if len(values) > 1 else values[0]
    return labels


def parse_value_map(words: list[str]) -> dict[int, int]:
    """Return `{255: 1}` for `["255=1"]`; raises `UserError`."""
    found = [(word, re.fullmatch(r"(-?\d+)=(\d{1,3})", word)) for word in words]
    if wrong := [word for word, match in found if match is None]:
        raise UserError(f"--map {' '.join(wrong)}: FOUND=WRITTEN expected, such as 255=1")
    return {int(match[1]): int(match[2]) for _, match in found if match is not None}
