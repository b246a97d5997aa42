"""Any task of the Medical Segmentation Decathlon (Antonelli et al., Nature Communications 13:4128, 2022).

Layout: `dataset.json` beside `imagesTr`, `labelsTr` and, if there are test cases, `imagesTs`. Channels and classes come
from that file; images of several channels are 4D and are split.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from ser_nnunet.dataset_conversion.core.data_classes import LABEL, Description, Options, Table, Volume
from ser_nnunet.dataset_conversion.core.hounsfield import hounsfield_check
from ser_nnunet.dataset_conversion.core.pairing import Found, assemble, choose_channels, find_by_name
from ser_nnunet.dataset_conversion.core.problems import Problem
from ser_nnunet.dataset_conversion.core.source_tree import Tree, stem

from ser_nnunet.errors import UserError

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


def find(tree: Tree, options: Options) -> Table:
    """Return the table of cases; raises `UserError` if dataset.json is absent or says nothing useful."""
    content, home = _dataset_json(tree)
    full = replace(_description(content, options), name=_name(home, content))
    description = choose_channels(full, options)
    found, extra = find_by_name(tree, lambda tree, path: _parse(path, home))
    if not found:
        raise tree.nothing_found(EXPECTED)
    roles = list(full.channels)
    split = [item for found_volume in found for item in _channels(*found_volume, roles)]
    table = assemble(tree, description, split, extra)
    table.problems = [problem for problem in table.problems if not _expected_absence(table, problem)]
    table.problems += _listed_but_absent(content, home, found)
    return table


def _dataset_json(tree: Tree) -> tuple[dict[str, Any], Path]:
    files = [path for path in tree.named("dataset.json") if (path.parent / "imagesTr").is_dir()]
    if not files:
        raise tree.nothing_found(EXPECTED)
    if len(files) > 1:
        tasks = ", ".join(tree.short(path.parent) for path in files)
        raise UserError(f"{tree.root} holds {len(files)} tasks ({tasks}): point at one of them")
    try:
        content = json.loads(files[0].read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{files[0]} is no valid JSON ({error}): get it again") from None
    absent = [key for key in ("modality", "labels") if not isinstance(content.get(key), dict) or not content[key]]
    if absent:
        raise UserError(f"{files[0]} lacks {', '.join(absent)}: is this a folder of the Decathlon (nnU-Net v1 format)?")
    return content, files[0].parent


def _description(content: dict[str, Any], options: Options) -> Description:
    name = str(content.get("name") or "Decathlon")
    classes = {
        str(text): int(value) for value, text in sorted(content["labels"].items(), key=lambda item: int(item[0]))
    }
    labels, values, order = _classes(name, classes, options.classes)
    is_ct_pancreas = name.lower() == "pancreas"
    return Description(
        name=name,
        title=str(content.get("description") or name),
        licence=str(content.get("licence") or content.get("license") or "CC-BY-SA 4.0"),
        citation=CITATION,
        reference=f"http://medicaldecathlon.com ({content.get('reference', 'no reference given')})",
        release=str(content.get("release") or content.get("relase") or ""),
        channels=_channel_names(content["modality"]),
        labels=labels,
        values=values,
        regions_class_order=order,
        counts=_counts(content),
        empty_masks=name.lower() not in ALWAYS_FOREGROUND,
        notes=tuple(NOTES[key] for key in NOTES if key == name.lower()),
        case_checks=(hounsfield_check,) if is_ct_pancreas else (),
    )


def _name(home: Path, content: dict[str, Any]) -> str:
    """The name after `TaskXX_`, as nnU-Net's own converter has it, else the one in dataset.json."""
    match = re.fullmatch(r"Task\d+_(\w+)", home.resolve().name)
    return re.sub(r"[^A-Za-z0-9]+", "", match[1] if match else str(content.get("name"))) or "Decathlon"


def _channel_names(modality: dict[str, str]) -> dict[str, str]:
    """Role -> nnU-Net's channel name; anything that is CT must be called exactly so to be normalised as CT."""
    names = [str(modality[key]) for key in sorted(modality, key=int)]
    unique = [name if names.count(name) == 1 else f"{name}{index}" for index, name in enumerate(names)]
    return {
        role: "CT" if re.match(r"CT\b", name, re.IGNORECASE) else name for role, name in zip(unique, names, strict=True)
    }


def _classes(
    name: str, classes: dict[str, int], choice: str
) -> tuple[dict[str, int | tuple[int, ...]], dict[int, int], tuple[int, ...] | None]:
    """Return nnU-Net's labels, the mapping of values, and the order of regions for one of the three choices."""
    foreground = {text: value for text, value in classes.items() if value > 0}
    whole = WHOLE.get(name.lower())
    same = {value: value for value in classes.values()}
    if choice == "merged":
        merged = {"background": 0, whole or name.lower(): 1}
        return dict(merged), {value: int(value > 0) for value in classes.values()}, None
    if choice == "regions":
        if whole is None or len(foreground) < 2:
            raise UserError(f"--classes regions: the classes of {name} do not nest; choose shipped or merged")
        return _regions(whole, foreground), same, tuple(sorted(foreground.values()))
    return dict(classes), same, None


def _regions(whole: str, foreground: dict[str, int]) -> dict[str, int | tuple[int, ...]]:
    """Regions that nest: all values, then all but the lowest, and so on (as BraTS has them)."""
    values = sorted(foreground.values())
    regions: dict[str, int | tuple[int, ...]] = {"background": 0, whole: tuple(values)}
    for text, value in sorted(foreground.items(), key=lambda item: item[1])[1:]:
        rest = tuple(other for other in values if other >= value)
        regions[text if len(rest) == 1 else f"{text} and inside"] = rest if len(rest) > 1 else rest[0]
    return regions


def _counts(content: dict[str, Any]) -> dict[str, int]:
    return {
        split: int(content[key]) for split, key in (("train", "numTraining"), ("test", "numTest")) if key in content
    }


def _parse(path: Path, home: Path) -> Found | None:
    kinds = {
        "imagesTr": ("image", "train"),
        "labelsTr": (LABEL, "train"),
        "imagesTs": ("image", "test"),
        "labelsTs": (LABEL, "test"),
    }
    if path.parent.parent != home or path.parent.name not in kinds:
        return None
    role, split = kinds[path.parent.name]
    return Found(stem(path), role, split=split)


def _channels(found: Found, volume: Volume, roles: list[str]) -> list[tuple[Found, Volume]]:
    if found.role == LABEL:
        return [(found, volume)]
    count = len(roles)
    return [
        (Found(found.case, role, split=found.split), Volume(volume.path, index, count, volume.twin))
        for index, role in enumerate(roles)
    ]


def _expected_absence(table: Table, problem: Problem) -> bool:
    """The Decathlon keeps its test labels: their absence is no news."""
    return problem.kind == "image without label" and not problem.fatal


def _listed_but_absent(content: dict[str, Any], home: Path, found: list[tuple[Found, Volume]]) -> list[Problem]:
    """Files that dataset.json lists and that are what the count is short of; not the whole of a folder left out."""
    listed = [entry for entry in content.get("training", []) if isinstance(entry, dict)]
    there = {(volume.path.parent.name, stem(volume.path)) for _, volume in found}
    names = [Path(str(entry[key])) for entry in listed for key in ("image", "label") if key in entry]
    names += [Path(str(entry)) for entry in content.get("test", []) if isinstance(entry, str)]
    folders = {folder for folder, _ in there}
    absent = sorted(
        {
            name.as_posix()
            for name in names
            if name.parent.name in folders and (name.parent.name, stem(name)) not in there
        }
    )
    return [Problem("listed, not there", "", f"{name} (in dataset.json)", fatal=False) for name in absent]
