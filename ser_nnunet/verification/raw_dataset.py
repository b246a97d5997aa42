"""A data set in nnU-Net's raw format: its folder, what dataset.json says, and its files, none of them read yet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ser_nnunet.dataset_conversion.core.data_classes import LABEL, CaseTable, DatasetInfo, Problem
from ser_nnunet.dataset_conversion.core.pairing import IdentifiedVolume, build_table
from ser_nnunet.dataset_conversion.core.source_tree import SourceTree
from ser_nnunet.errors import UserError
from ser_nnunet.evaluation.labels import Labels, read_labels
from ser_nnunet.nnunet.paths import RAW, nnunet_folder
from ser_nnunet.nnunet.region_order import describe_wrong_order, list_regions
from ser_nnunet.verification.raw_files import identify_raw_files


@dataclass
class RawDataset:
    """A data set as it is found in nnUNet_raw.

    Attributes:
        folder: `DatasetXXX_Name`.
        labels: what dataset.json says of classes and file ending.
        reader: name of the class with which nnU-Net reads its images.
        tree: its files, for messages.
        table: its cases, and the problems of dataset.json and of the file names.
    """

    folder: Path
    labels: Labels
    reader: str
    tree: SourceTree
    table: CaseTable


def find_raw_dataset(dataset: str) -> Path:
    """Return the folder of a data set, given by its id, by its name in nnUNet_raw, or by a path to the folder.

    Raises:
        UserError: there is none, several have this id, or an id or name is given and nnUNet_raw is not set.
    """
    if not dataset.isdecimal() and Path(dataset).is_dir():
        return Path(dataset)
    root = nnunet_folder(RAW)
    if root is None:
        raise UserError(f"nnUNet_raw is not set: export it, or give the path of the folder instead of {dataset}")
    prefix = f"Dataset{int(dataset):03d}_" if dataset.isdecimal() else dataset
    folders = sorted(path for path in root.glob("Dataset*") if path.is_dir()) if root.is_dir() else []
    found = [path for path in folders if path.name == dataset or (dataset.isdecimal() and path.name.startswith(prefix))]
    if len(found) == 1:
        return found[0]
    if found:
        raise UserError(f"{len(found)} data sets have the id {dataset}: {', '.join(path.name for path in found)}")
    there = ", ".join(path.name for path in folders[:10]) or "no data set"
    raise UserError(f"there is no data set {dataset}: {root} holds {there}; a path to its folder is possible, too")


def read_raw_dataset(folder: Path) -> RawDataset:
    """Read dataset.json and list the files of imagesTr, labelsTr, imagesTs and labelsTs.

    Raises:
        UserError: there is no usable dataset.json, or no folder imagesTr.
    """
    labels = read_labels(folder / "dataset.json")
    if "dataset" not in labels.content and not (folder / "imagesTr").is_dir():
        raise UserError(f"{folder} has no folder imagesTr: a data set in nnU-Net's raw format is expected")
    reader = find_reader(labels)
    info = describe_raw_dataset(folder, labels)
    tree = SourceTree(folder)
    volumes, problems = identify_raw_files(folder, labels, reader, tuple(info.channels))
    table = build_table(tree, info, volumes)
    has_test_labels = any(identity.split == "test" and identity.role == LABEL for identity, _ in volumes)
    table.problems = [
        *(each for each in table.problems if each.fatal or each.kind != "image without label" or has_test_labels),
        *problems,
        *check_dataset_json(labels, volumes),
    ]
    return RawDataset(folder, labels, reader, tree, table)


def find_reader(labels: Labels) -> str:
    """Return the name of the class with which nnU-Net reads the data set; raises `UserError` if it has none for it."""
    from nnunetv2.imageio.reader_writer_registry import LIST_OF_IO_CLASSES

    ending = labels.file_ending.lower()
    endings = {each.__name__: tuple(getattr(each, "supported_file_endings", ())) for each in LIST_OF_IO_CLASSES}
    fitting = [name for name, supported in endings.items() if ending in supported]
    chosen: str | None = labels.content.get("overwrite_image_reader_writer")
    if not fitting:
        known = " ".join(sorted({each for supported in endings.values() for each in supported}))
        raise UserError(f"{labels.file}: file_ending {ending} is none that nnU-Net reads ({known})")
    return chosen if chosen and chosen != "None" else fitting[0]


def describe_raw_dataset(folder: Path, labels: Labels) -> DatasetInfo:
    """Return what dataset.json declares, as the checks need it."""
    names = labels.content.get("channel_names")
    if not names:
        raise UserError(f'{labels.file}: \'channel_names\' (such as {{"0": "CT"}}) expected, which nnU-Net needs')
    ordered = [names[key] for key in sorted(names, key=lambda key: (len(key), key))]
    roles = [name if ordered.count(name) == 1 else f"{name} {index:04d}" for index, name in enumerate(ordered)]
    return DatasetInfo(
        name=labels.content.get("name") or folder.name,
        title=folder.name,
        licence=str(labels.content.get("licence", "")),
        citation="",
        reference="",
        channels=dict(zip(roles, ordered, strict=True)),
        labels={
            name: tuple(value) if isinstance(value, list) else value for name, value in labels.content["labels"].items()
        },
        values={value: value for value in sorted(labels.values)},
    )


def check_dataset_json(labels: Labels, volumes: list[IdentifiedVolume]) -> Iterator[Problem]:
    """Compare dataset.json with the files, and with what nnU-Net demands of it."""
    found = len({identity.case for identity, _ in volumes if identity.split == "train" and identity.role != LABEL})
    declared = labels.content.get("numTraining")
    if declared != found:
        text = f"numTraining is {'absent' if declared is None else declared}, imagesTr has {found} cases"
        yield Problem("dataset.json", "", f"{text}: nnU-Net's own check fails")
    values = sorted(labels.values)
    if values != list(range(len(values))):
        text = f"the label values are {', '.join(map(str, values))}: nnU-Net needs 0, 1, 2, ... without a gap"
        yield Problem("dataset.json", "", text)
    regions = list_regions(labels.content["labels"])
    if regions and (wrong_order := describe_wrong_order(regions, labels.content["regions_class_order"])):
        yield Problem("dataset.json", "", wrong_order)
    keys = list(labels.content["channel_names"])
    if sorted(keys, key=lambda key: (len(key), key)) != [str(index) for index in range(len(keys))]:
        yield Problem(
            "dataset.json", "", f"channel_names has the keys {', '.join(keys)}, expected 0 to {len(keys) - 1}"
        )
