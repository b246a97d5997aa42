"""`evaluate`: folders of references and predictions in, every metric of every case and class out."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd

from ser_nnunet import __version__
from ser_nnunet.errors import UserError
from ser_nnunet.evaluation.definitions import F1_IN_STRATUM, metrics_of
from ser_nnunet.evaluation.labels import Labels, find_dataset_json, read_labels
from ser_nnunet.evaluation.lesions import CONNECTIVITY, RULES
from ser_nnunet.evaluation.pairing import check_geometry, fail_on, pair_cases
from ser_nnunet.evaluation.result import KEYS, Evaluation
from ser_nnunet.evaluation.settings import Settings
from ser_nnunet.evaluation.statistics import compare_methods, summarise
from ser_nnunet.evaluation.workers import check_cases, evaluate_cases, worker_count

Folder = str | PathLike[str]


def evaluate(
    reference: Folder,
    prediction: Folder,
    *,
    dataset_json: Folder | None = None,
    images: Folder | None = None,
    compare: Sequence[Folder] = (),
    names: Sequence[str] | None = None,
    cases: Sequence[str] | None = None,
    chill: bool = False,
    settings: Settings | None = None,
    processes: int | None = None,
    progress: bool = True,
) -> Evaluation:
    """Compare predicted with reference segmentations of an nnU-Net data set.

    Args:
        reference: folder of `<case><file_ending>`, such as labelsTs, or gt_segmentations of nnUNet_preprocessed.
        prediction: folder of predictions, named alike, such as nnUNetv2_predict's output or a fold's `validation`.
        dataset_json: the data set's dataset.json; None looks in the folders (see `find_dataset_json`).
        images: folder of the images, for the report's pictures; None looks for imagesTr beside labelsTr and so on.
        compare: folders of other methods' predictions of the same cases.
        names: of the methods, `prediction` first; None makes them from the folders' names.
        cases: evaluate these only; None takes all of `reference`.
        chill: evaluate only the cases that every method has predicted.
        settings: metrics, tolerances, rules; None takes the defaults.
        processes: None uses every core, as far as memory allows; 1 computes in this process.
        progress: whether to show a progress bar.

    Returns:
        `Evaluation`; `.write(folder)` saves it, `.mean("Dice")` and `.values("Dice", class_name)` read from it.

    Raises:
        UserError: missing or extra predictions, grids that differ, unreadable files, unknown labels; all of them.
    """
    settings = settings or Settings()
    folders = {"reference": Path(reference), "prediction": Path(prediction)}
    methods = name_methods([folders["prediction"], *map(Path, compare)], names)
    found = find_dataset_json(folders["reference"], folders["prediction"], Path(dataset_json) if dataset_json else None)
    labels = read_labels(found)
    _check_tolerances(settings, labels)
    image_folder = Path(images) if images else _images_beside(folders["reference"])
    pairs, unpaired = pair_cases(
        folders["reference"],
        methods,
        labels.file_ending,
        images=Path(images) if images else None,  # only those that the user named must be complete
        only=cases,
        chill=chill,
    )
    headers = check_geometry(pairs)
    workers = worker_count(processes, len(pairs), headers.largest, settings)
    if unpaired or headers.problems:  # nothing will be evaluated: tell everything that can be known
        _refuse(
            unpaired, headers.problems, check_cases(pairs, labels, frozenset(headers.unreadable), workers, progress)
        )
    results = evaluate_cases(pairs, labels, settings, workers, progress)
    _refuse([], [], [problem for result in results for problem in result.problems])
    table = pd.DataFrame(row for result in results for row in result.metrics)
    table = table[[*KEYS, *(metric.name for metric in metrics_of(settings))]]
    return Evaluation(
        cases=table,
        lesions=pd.DataFrame(row for result in results for row in result.lesions),
        summary=summarise(table, settings),
        comparison=compare_methods(table, settings),
        settings=settings,
        about=_about(folders["reference"], methods, found, labels, image_folder, settings),
    )


def name_methods(folders: Sequence[Path], names: Sequence[str] | None = None) -> dict[str, Path]:
    """Return method name -> folder: the given names, or the shortest ends of the paths that tell them apart."""
    if names is not None:
        if len(names) != len(folders) or len(set(names)) != len(names):
            raise UserError(f"{len(folders)} prediction folders need as many different names, not {list(names)}")
        return dict(zip(names, folders, strict=True))
    parts = [folder.resolve().parts for folder in folders]
    if len(set(parts)) != len(parts):
        raise UserError(f"the same prediction folder twice: {', '.join(map(str, folders))}")
    depth = 1
    while len({part[-depth:] for part in parts}) != len(parts):
        depth += 1
    return {"/".join(part[-depth:]): folder for part, folder in zip(parts, folders, strict=True)}


def _images_beside(reference: Path) -> Path | None:
    """labelsTr -> imagesTr, labelsTs -> imagesTs, where that folder is there."""
    name = reference.resolve().name
    images = reference.resolve().parent / name.replace("labels", "images", 1)
    return images if name.startswith("labels") and images.is_dir() else None


def _refuse(unpaired: Sequence[str], grids: Sequence[str], voxels: Sequence[str]) -> None:
    """Raise one `UserError` with all problems of files, headers and voxels, if there are any."""
    fail_on(
        (
            unpaired,
            "references and predictions don't fit together",
            "Names must agree up to the file ending; --chill evaluates what is predicted, --cases what you name.",
        ),
        (
            grids,
            "references and predictions don't lie on the same grid",
            "Predict again from the images that belong to the references, or bring both onto one grid.",
        ),
        (voxels, "segmentations that cannot be evaluated", "Predict or convert these again."),
    )


def _check_tolerances(settings: Settings, labels: Labels) -> None:
    unknown = sorted(set(settings.class_tolerance_mm) - set(labels.classes))
    if unknown:
        known = ", ".join(labels.classes)
        raise UserError(f"a tolerance is given for {', '.join(unknown)}, but the classes are {known}")


def _about(
    reference: Path,
    methods: Mapping[str, Path],
    dataset_json: Path,
    labels: Labels,
    images: Path | None,
    settings: Settings,
) -> dict[str, Any]:
    packages = ["nnunetv2", "numpy", "scipy", "SimpleITK"]
    packages += ["monai"] if "surface" in settings.groups else []
    packages += ["connected-components-3d"] if "lesions" in settings.groups else []
    return {
        "dataset": labels.content.get("name") or reference.resolve().parent.name,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "reference": str(reference.resolve()),
        "methods": {name: str(folder.resolve()) for name, folder in methods.items()},
        "images": str(images.resolve()) if images else None,
        "dataset_json": str(dataset_json.resolve()),
        "file_ending": labels.file_ending,
        "classes": {name: label if isinstance(label, int) else list(label) for name, label in labels.classes.items()},
        "ignore_label": labels.ignore,
        "versions": {"ser-nnunet": __version__, "python": platform.python_version()}
        | {p: version(p) for p in packages},
        "rules": describe_rules(settings),
    }


def describe_rules(settings: Settings) -> dict[str, str]:
    """Return what a reader must know to reproduce the numbers, by topic."""
    rules = {
        "voxels": "Dice, IoU: TP, FP, FN counted by nnunetv2.evaluation.evaluate_predictions; voxels that the reference"
        " marks to be ignored count nowhere.",
        "empty masks": "A fraction that would divide 0 by 0 is undefined: it is left empty, and out of means and tests."
        " So with both masks empty everything but counts and volumes is undefined; with one mask empty Dice, IoU,"
        " NSD and lesion F1 are 0, and HD, HD95 and ASSD are "
        + ("the image's diagonal." if settings.empty_distance == "diagonal" else "undefined."),
    }
    if "surface" in settings.groups:
        tolerances = {"every other class" if settings.class_tolerance_mm else "every class": settings.tolerance_mm}
        named = ", ".join(f"{mm:g} mm for {name}" for name, mm in {**settings.class_tolerance_mm, **tolerances}.items())
        rules["surfaces"] = (
            f"MONAI {version('monai')}, mm by the header's spacing. HD, HD95, ASSD between edge voxels (HD95: the"
            " larger of the two directions; ASSD: mean over all edge voxels of both masks). NSD over area-weighted"
            f" surface elements (compute_surface_dice, use_subvoxels=True), tolerance {named}."
        )
    if "lesions" in settings.groups:
        rules["lesions"] = (
            f"Connected components ({CONNECTIVITY[3]} neighbours in 3D, {CONNECTIVITY[2]} in 2D) of at least"
            f" {settings.min_lesion_voxels} voxels. Rule '{settings.detection}', min_overlap {settings.threshold:g}:"
            f" {RULES[settings.detection]}. Size strata in voxels: {', '.join(settings.stratum_names)};"
            f" F1 within a stratum is {F1_IN_STRATUM}."
        )
    return rules
