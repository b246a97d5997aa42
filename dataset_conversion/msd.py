"""Any task of the Medical Segmentation Decathlon (Antonelli et al., Nature Communications 13:4128, 2022).

Layout: `dataset.json` beside `imagesTr`, `labelsTr` and, if there are test cases, `imagesTs`. Channels and classes come
from that file; images of several channels are 4D and are split.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from pathlib import Path

from ser_nnunet.dataset_conversion.core.data_classes import LABEL, CaseTable, DatasetInfo, Options, Problem
from ser_nnunet.dataset_conversion.core.decathlon_json import EXPECTED as EXPECTED_JSON
from ser_nnunet.dataset_conversion.core.decathlon_json import DecathlonJson
from ser_nnunet.dataset_conversion.core.hounsfield import check_hounsfield_values
from ser_nnunet.dataset_conversion.core.pairing import (
    FileIdentity,
    IdentifiedVolume,
    build_table,
    choose_channels,
    identify_files,
)
from ser_nnunet.dataset_conversion.core.source_tree import SourceTree, image_stem
from ser_nnunet.errors import UserError
from ser_nnunet.utils.json_files import read_validated

CITATION = (
    "Antonelli et al., The Medical Segmentation Decathlon, Nature Communications 13:4128 (2022), "
    "https://doi.org/10.1038/s41467-022-30695-9"
)
EXPECTED = "dataset.json beside imagesTr/ and labelsTr/, as the Decathlon's TaskXX_Name folders have them"
WHOLE = {
    "brats": "whole tumor",
    "liver": "whole liver",
    "hippocampus": "hippocampus",
    "prostate": "prostate",
    "pancreas": "pancreas",
}
"""Tasks whose classes nest, value 2 inside the union and so on, and what all of them together are."""
ALWAYS_FOREGROUND = ("prostate", "pancreas", "hippocampus")
NOTES = {
    "pancreas": "Do not pool with PANORAMA as independent data: it holds 194 of these cases and 80 of NIH Pancreas-CT.",
}


def find(tree: SourceTree, options: Options) -> CaseTable:
    """Return the table of cases; raises `UserError` if dataset.json is absent or lacks what is needed."""
    content, home = read_task(tree)
    full = describe_task(content, home, options.classes)
    info = choose_channels(full, options)
    files, unused = identify_files(tree, partial(identify, home=home))
    if not files:
        raise tree.no_cases_error(EXPECTED)
    volumes: list[IdentifiedVolume] = []
    for identity, volume in files:
        if identity.role == LABEL:
            volumes.append((identity, volume))
            continue
        for index, role in enumerate(full.channels):
            channel = replace(volume, component=index, components=len(full.channels))
            volumes.append((replace(identity, role=role), channel))
    table = build_table(tree, info, volumes, unused)
    # the Decathlon does not publish its test labels: their absence is not worth a note
    table.problems = [problem for problem in table.problems if problem.fatal or problem.kind != "image without label"]
    table.problems += find_listed_but_missing(content, {volume.path for _, volume in files})
    return table


def read_task(tree: SourceTree) -> tuple[DecathlonJson, Path]:
    """Return the content of the only task's dataset.json and the folder it is in; raises `UserError`."""
    listed = tree.find_files("dataset.json")
    files = [path for path in listed if (path.parent / "imagesTr").is_dir()]
    if listed and not files:
        places = ", ".join(tree.shorten(path) for path in listed[:5])
        raise UserError(f"{tree.root} holds {places}, but no folder imagesTr beside it: expected {EXPECTED}")
    if not files:
        raise tree.no_cases_error(EXPECTED)
    if len(files) > 1:
        tasks = ", ".join(tree.shorten(path.parent) for path in files)
        raise UserError(f"{tree.root} holds {len(files)} tasks ({tasks}): give the folder of one of them")
    return read_validated(files[0], DecathlonJson, EXPECTED_JSON), files[0].parent


def describe_task(content: DecathlonJson, home: Path, classes: str) -> DatasetInfo:
    """Return what dataset.json declares of a task, with the classes that the user chose."""
    task = content.name or "Decathlon"
    match = re.fullmatch(r"Task\d+_(\w+)", home.resolve().name)  # as nnU-Net's own converter names the data set
    labels, values, order = choose_classes(task, content.labels, classes)
    return DatasetInfo(
        name=re.sub(r"[^A-Za-z0-9]+", "", match[1] if match else str(content.name)) or "Decathlon",
        title=content.description or task,
        licence=content.licence or content.license or "CC-BY-SA 4.0",
        citation=CITATION,
        reference=f"http://medicaldecathlon.com ({content.reference or 'no reference given'})",
        release=content.release or content.relase or "",
        channels=name_channels(content.modality),
        labels=labels,
        values=values,
        regions_class_order=order,
        official_counts={
            split: count
            for split, count in (("train", content.numTraining), ("test", content.numTest))
            if count is not None
        },
        allow_empty_masks=task.lower() not in ALWAYS_FOREGROUND,
        notes=tuple(NOTES[key] for key in NOTES if key == task.lower()),
        case_checks=(check_hounsfield_values,) if task.lower() == "pancreas" else (),
    )


def name_channels(modality: dict[str, str]) -> dict[str, str]:
    """Return role -> nnU-Net's channel name. CT must be called exactly so, for nnU-Net to normalise it as CT."""
    names = [modality[key] for key in sorted(modality, key=int)]
    roles = [name if names.count(name) == 1 else f"{name}{index}" for index, name in enumerate(names)]
    channels = ("CT" if re.match(r"CT\b", name, re.IGNORECASE) else name for name in names)
    return dict(zip(roles, channels, strict=True))


def choose_classes(
    task: str, shipped: dict[str, str], choice: str
) -> tuple[dict[str, int | tuple[int, ...]], dict[int, int], tuple[int, ...] | None]:
    """Return nnU-Net's labels, the mapping of values, and the order of regions for one of the three choices.

    Regions nest: all values, then all but the lowest, and so on (as nnU-Net has them for BraTS).
    """
    classes = {text: int(value) for value, text in sorted(shipped.items(), key=lambda item: int(item[0]))}
    whole = WHOLE.get(task.lower())
    if choice == "merged":
        return {"background": 0, whole or task.lower(): 1}, {value: int(value > 0) for value in classes.values()}, None
    unchanged = {value: value for value in classes.values()}
    if choice != "regions":
        return {**classes}, unchanged, None
    foreground = [(text, value) for text, value in classes.items() if value > 0]
    if whole is None or len(foreground) < 2:
        raise UserError(f"--classes regions: the classes of {task} do not nest; choose shipped or merged")
    values = tuple(value for _, value in foreground)
    regions: dict[str, int | tuple[int, ...]] = {"background": 0, whole: values}
    for index, (text, value) in enumerate(foreground[1:], start=1):
        is_innermost = index == len(foreground) - 1
        regions[text if is_innermost else f"{text} and inside"] = value if is_innermost else values[index:]
    return regions, unchanged, values


def identify(tree: SourceTree, path: Path, home: Path) -> FileIdentity | None:
    """Identify a file of the task in the folder `home` by the folder it is in; all channels are in one file."""
    kinds = {
        "imagesTr": ("image", "train"),
        "labelsTr": (LABEL, "train"),
        "imagesTs": ("image", "test"),
        "labelsTs": (LABEL, "test"),
    }
    if path.parent.parent != home or path.parent.name not in kinds:
        return None
    role, split = kinds[path.parent.name]
    return FileIdentity(image_stem(path), role, split=split)


def find_listed_but_missing(content: DecathlonJson, paths: set[Path]) -> list[Problem]:
    """Note the files that dataset.json lists and that are not among `paths`, except where a whole folder is absent."""
    training = [entry for entry in content.training if isinstance(entry, dict)]
    listed = [Path(str(entry[key])) for entry in training for key in ("image", "label") if key in entry]
    listed += [Path(entry) for entry in content.test if isinstance(entry, str)]
    found = {(path.parent.name, image_stem(path)) for path in paths}
    folders = {folder for folder, _ in found}
    missing = {
        file.as_posix()
        for file in listed
        if file.parent.name in folders and (file.parent.name, image_stem(file)) not in found
    }
    text = "{} is in dataset.json and not in its folder"
    return [Problem("listed file missing", "", text.format(file), fatal=False) for file in sorted(missing)]
