"""The classes of a data set, read from nnU-Net's dataset.json."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ser_nnunet.errors import UserError
from ser_nnunet.nnunet.dataset_json import EXPECTED, DatasetJson
from ser_nnunet.utils.json_files import read_validated

LabelOrRegion = int | tuple[int, ...]


@dataclass(frozen=True)
class Labels:
    """The labels of a data set, as dataset.json defines them.

    Attributes:
        file: dataset.json's path.
        classes: class name -> label value, or the label values of a region; in nnU-Net's order, no background.
        ignore: the label value of reference voxels that are not evaluated, or None.
        values: every label value that may occur.
        file_ending: for example `.nii.gz`.
        content: dataset.json itself, from which nnU-Net chooses its reader.
    """

    file: Path
    classes: dict[str, LabelOrRegion]
    ignore: int | None
    values: frozenset[int]
    file_ending: str
    content: dict[str, Any]


def find_dataset_json(reference: Path, prediction: Path, given: Path | None = None) -> Path:
    """Return dataset.json: the given one, or that of the prediction folder, the reference folder or its parent.

    nnUNetv2_predict leaves a copy in the prediction folder; nnUNet_raw has it beside labelsTr.
    """
    if given is not None:
        places = [given / "dataset.json" if given.is_dir() else given]
    else:
        folders = [prediction, prediction.parent, reference, reference.parent]
        places = [folder / "dataset.json" for folder in folders]
    for place in places:
        if place.is_file():
            return place
    looked = "\n".join(f"  {place}" for place in places)
    raise UserError(
        f"no dataset.json, which names the classes; looked for\n{looked}\nName the file: --dataset-json FILE"
    )


def read_file_ending(dataset_json: Path) -> str:
    """Return the data set's file ending; raises `UserError` as `read_labels` does, without importing nnU-Net."""
    return read_validated(dataset_json, DatasetJson, EXPECTED).file_ending


def read_labels(dataset_json: Path) -> Labels:
    """Read the classes, exactly as nnU-Net's own evaluation would evaluate them (regions if there are any).

    Raises:
        UserError: the file isn't an nnU-Net v2 dataset.json.
    """
    content = read_validated(dataset_json, DatasetJson, EXPECTED).model_dump(exclude_unset=True)
    from nnunetv2.utilities.label_handling.label_handling import LabelManager  # takes seconds

    named, file_ending = content["labels"], content["file_ending"]
    try:
        manager = LabelManager(named, content.get("regions_class_order"))
        found = manager.foreground_regions if manager.has_regions else manager.foreground_labels
    except Exception as error:  # nnU-Net asserts what it expects
        reason = f"{type(error).__name__}: {error}"
        raise UserError(f"{dataset_json}: {EXPECTED} expected, but nnU-Net can't use its labels ({reason})") from error
    wanted = [_simplify_label(value) for value in found]
    classes = {
        name: _simplify_label(value)
        for name, value in named.items()
        if _simplify_label(value) in wanted and name != "ignore"
    }
    ignore = manager.ignore_label
    values = frozenset({0, *map(int, manager.all_labels), *([] if ignore is None else [int(ignore)])})
    return Labels(dataset_json, classes, ignore, values, file_ending, content)


def _simplify_label(value: Any) -> LabelOrRegion:
    """Return 3 for 3 or [3], and (1, 2) for [1, 2]."""
    if not isinstance(value, list | tuple):
        return int(value)
    return int(value[0]) if len(value) == 1 else tuple(int(each) for each in value)
