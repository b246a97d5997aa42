"""The classes of a data set, read from nnU-Net's dataset.json."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ser_nnunet.errors import UserError
from ser_nnunet.evaluation.case_files import LISTED
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


def find_dataset_json(reference: Path, predictions: Sequence[Path], given: Path | None = None) -> Path:
    """Return dataset.json: the given one, or that of the first prediction folder, else the reference's, else another's.

    Every folder's own is the one in it, or else in its parent: nnUNetv2_predict leaves a copy of the model's in the
    prediction folder, nnUNet_raw has it beside labelsTr. All of them must declare the same labels.

    Raises:
        UserError: there is none, or they don't agree.
    """
    first, *others = predictions
    folders = [first, reference, *others] if given is None else []
    groups = [[folder / "dataset.json", folder.parent / "dataset.json"] for folder in folders]
    if given is not None:
        groups = [[given / "dataset.json" if given.is_dir() else given]]
    nearest = (next((place for place in places if place.is_file()), None) for places in groups)
    found = list(dict.fromkeys(file for file in nearest if file is not None))
    if not found:
        looked = "\n".join(f"  {place}" for place in dict.fromkeys(place for places in groups for place in places))
        raise UserError(
            f"no dataset.json, which names the classes; looked for\n{looked}\nName the file: --dataset-json FILE"
        )
    refuse_different_labels(found)
    return found[0]


def refuse_different_labels(files: Sequence[Path]) -> None:
    """Raise `UserError` if dataset.json files name label values or regions differently; the order of names is free.

    With the names of the data set that the model was trained on, a class would get another one's numbers. The order in
    which nnU-Net writes regions into a mask (`regions_class_order`) does not change what a value means.

    Args:
        files: of the reference and of the predictions.
    """
    if len(files) < 2:
        return
    declared: dict[Path, dict[str, LabelOrRegion]] = {}
    problems: list[str] = []
    for file in files:
        try:
            named = read_validated(file, DatasetJson, EXPECTED).labels
        except UserError as error:
            problems.append(str(error))
        else:
            in_order = {name: sorted({*value}) if isinstance(value, list) else value for name, value in named.items()}
            declared[file] = {name: _simplify_label(value) for name, value in in_order.items()}
    names = list(dict.fromkeys(name for labels in declared.values() for name in labels))
    different = [name for name in names if len({labels.get(name) for labels in declared.values()}) > 1]
    if not different and not problems:
        return
    for file, labels in declared.items():
        values = ", ".join(f"{name} {labels.get(name, 'absent')}" for name in different[:LISTED])
        more = f" and {len(different) - LISTED} more" if len(different) > LISTED else ""
        problems.append(f"{file}: {values or 'an nnU-Net v2 dataset.json'}{more}")
    listed = "\n".join(f"  {problem}" for problem in problems)
    raise UserError(
        "the dataset.json files of references and predictions don't agree on the labels (nnUNetv2_predict copies that "
        f"of the model):\n{listed}\nIf a label value means the same in all of these masks, name the file with the "
        "right names: --dataset-json FILE. Otherwise give the predictions the reference's label values first"
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
