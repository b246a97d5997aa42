"""`evaluate`: every metric of every case and class, from folders of references and predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from ser_nnunet.errors import UserError
from ser_nnunet.evaluation.case_files import CaseFiles, pair_cases, require_folders
from ser_nnunet.evaluation.definitions import MetricGroup
from ser_nnunet.evaluation.labels import Labels, find_dataset_json, read_file_ending, read_labels
from ser_nnunet.evaluation.patients import find_patients
from ser_nnunet.evaluation.settings import Settings
from ser_nnunet.utils.printable import printable
from ser_nnunet.utils.processes import fitting_processes, map_in_processes

if TYPE_CHECKING:
    from ser_nnunet.evaluation.case import CaseResult
    from ser_nnunet.evaluation.result import Evaluation

Folder = str | PathLike[str]

BYTES_PER_PROCESS = 400 * 2**20  # what a process doesn't share with the others of torch and MONAI


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
    patients: Folder | None = None,
    settings: Settings | None = None,
    processes: int | None = None,
    progress: bool = True,
) -> Evaluation:
    """Compare predicted with reference segmentations of an nnU-Net data set.

    Args:
        reference: folder of `<case><file_ending>`, such as labelsTs, or gt_segmentations of nnUNet_preprocessed.
        prediction: folder of predictions, named alike, such as nnUNetv2_predict's output or a fold's `validation`.
        dataset_json: the data set's dataset.json; None looks in and around the folders, where all must declare the
            same labels (see `find_dataset_json`).
        images: folder of the images, for the report's figures; None looks for imagesTr beside labelsTr and so on.
        compare: folders of other methods' predictions of the same cases.
        names: of the methods, `prediction` first; None makes them from the folders' names.
        cases: evaluate these only; None takes all of `reference`.
        chill: evaluate only the cases that every method has predicted.
        patients: file that names every case's patient; None looks for conversion.json (see `find_patients`).
        settings: metrics, tolerances, rules; None takes the defaults.
        processes: None uses every core, as far as memory allows; 1 computes in this process.
        progress: whether to show a progress bar.

    Returns:
        `Evaluation`; `.write(folder)` saves it, `.mean("Dice")` and `.values("Dice", class_name)` read from it.

    Raises:
        UserError: missing or extra predictions, grids that differ, unreadable files, unknown labels, cases without
            patient; all of them. Or folders whose dataset.json files declare different labels.
    """
    settings = settings or Settings()
    references, predictions = Path(reference), Path(prediction)
    methods = name_methods([predictions, *map(Path, compare)], names)
    image_folder = Path(images) if images else None  # only the images of a named folder must be complete
    require_folders([references, *methods.values(), *([image_folder] if image_folder else [])])
    file = find_dataset_json(references, list(methods.values()), Path(dataset_json) if dataset_json else None)
    pair = partial(pair_cases, references, methods, read_file_ending(file), images=image_folder, only=cases)
    pairs, unpaired = pair(chill=chill)
    refuse_forgotten_chill(len(pairs), unpaired, *pair(chill=True))
    labels = read_labels(file)
    settings.check_classes(labels.classes)
    grouped = find_patients([pair.name for pair in pairs], references, labels, Path(patients) if patients else None)
    # Imported here, because it takes seconds, and wrong arguments have been found before.
    import pandas as pd

    from ser_nnunet.evaluation.evaluation_provenance import describe_evaluation
    from ser_nnunet.evaluation.lesion_classes import keep_counted, resolve_lesion_classes
    from ser_nnunet.evaluation.result import KEYS, Evaluation
    from ser_nnunet.evaluation.statistics import compare_methods, summarise

    results = measure_cases(pairs, unpaired, grouped.problems, labels, settings, processes, progress)
    table = pd.DataFrame(row for result in results for row in result.metrics)
    table["patient"] = table["case"].map(grouped.of_case)
    settings = resolve_lesion_classes(table, list(labels.classes), settings)
    table = keep_counted(table[[*KEYS, *(metric.name for metric in settings.metrics)]], settings)
    lesions = [row for result in results for row in result.lesions if row["class"] in settings.lesion_classes]
    return Evaluation(
        cases=table,
        lesions=pd.DataFrame(lesions),
        summary=summarise(table, settings),
        comparison=compare_methods(table, settings),
        settings=settings,
        about=describe_evaluation(references, methods, labels, image_folder, grouped, settings),
    )


def measure_cases(
    pairs: Sequence[CaseFiles],
    unpaired: Sequence[str],
    ungrouped: Sequence[str],
    labels: Labels,
    settings: Settings,
    processes: int | None,
    progress: bool,
) -> list[CaseResult]:
    """Return the metrics of every case.

    Args:
        pairs: the cases.
        unpaired: problems of the names that have been found before.
        ungrouped: problems of the patients.
        labels: of the data set.
        settings: metrics and rules.
        processes: None uses every core, as far as memory allows.
        progress: whether to show a progress bar.

    Raises:
        UserError: these problems, and those of the files; all of them.
    """
    from ser_nnunet.evaluation.case import check_voxels, evaluate_case
    from ser_nnunet.evaluation.headers import check_headers

    headers = check_headers(pairs)
    count = count_processes(headers.largest, settings) if processes is None else processes
    if unpaired or headers.problems or ungrouped:  # nothing is evaluated: collect the voxels' problems, too
        check = partial(check_voxels, labels=labels, skip=frozenset(headers.unreadable))
        results = run_on_cases(check, pairs, count, "looking for further problems", [], progress)
    else:
        task = partial(evaluate_case, labels=labels, settings=settings)
        groups = list(settings.metric_groups.values())
        results = run_on_cases(task, pairs, count, "evaluating", groups, progress)
    voxels = [problem for result in results for problem in result.problems]
    raise_problems(unpaired, headers.problems, voxels, ungrouped)
    return results


def refuse_forgotten_chill(
    cases: int, unpaired: Sequence[str], predicted: Sequence[CaseFiles], others: Sequence[str]
) -> None:
    """Raise `UserError`, before any image is read, if most cases aren't predicted and nothing else is wrong.

    Args:
        cases: that have a reference.
        unpaired: the problems of the names.
        predicted: cases that every method has predicted.
        others: the problems that `--chill` would leave.
    """
    if unpaired and not others and 2 * len(predicted) < cases:
        raise_problems(unpaired, [], [], [])


def name_methods(folders: Sequence[Path], names: Sequence[str] | None = None) -> dict[str, Path]:
    """Return method name -> folder: the given names, or the shortest ends of the paths that differ from each other."""
    if names is not None:
        if len(names) != len(folders) or len(set(names)) != len(names):
            raise UserError(f"{len(folders)} prediction folders need as many different names, not {list(names)}")
        return dict(zip(map(printable, names), folders, strict=True))
    parts = [folder.resolve().parts for folder in folders]
    if len(set(parts)) != len(parts):
        raise UserError(f"the same prediction folder twice: {', '.join(map(str, folders))}")
    depth = 1
    while len({part[-depth:] for part in parts}) != len(parts):
        depth += 1
    return {printable("/".join(part[-depth:])): folder for part, folder in zip(parts, folders, strict=True)}


def count_processes(largest: int, settings: Settings) -> int:
    """Return how many processes fit cores and memory if each holds a case of `largest` voxels."""
    per_voxel = max(group.bytes_per_voxel for group in settings.metric_groups.values())
    return fitting_processes(largest * per_voxel + BYTES_PER_PROCESS)


def run_on_cases(
    task: Callable[[CaseFiles], CaseResult],
    cases: Sequence[CaseFiles],
    processes: int,
    label: str,
    groups: Sequence[MetricGroup],
    progress: bool,
) -> list[CaseResult]:
    """Return a task's result for each case, in their order; the groups' modules are loaded once for all processes."""
    from ser_nnunet.evaluation.case import use_one_thread

    modules = [name for group in groups for name in (group.module, *group.preload)]
    return map_in_processes(
        task,
        cases,
        processes,
        label,
        prepare_worker=use_one_thread,
        preload=["ser_nnunet.evaluation.case", *modules],
        progress=progress,
    )


def raise_problems(
    unpaired: Sequence[str], grids: Sequence[str], voxels: Sequence[str], patients: Sequence[str]
) -> None:
    """Raise one `UserError` with all problems of files, headers, voxels and patients, if there are any."""
    kinds = [
        (
            unpaired,
            "references and predictions don't fit together",
            "Names must agree up to the file ending; --chill evaluates what is predicted, --cases what you name.",
        ),
        (
            grids,
            "references and predictions don't lie on the same grid",
            "Predict again from the images that belong to the references, or resample both onto one grid.",
        ),
        (voxels, "segmentations that cannot be evaluated", "Predict or convert these again."),
        (
            patients,
            "the patients of the cases are not clear",
            "A file for --groups names one patient for every evaluated case.",
        ),
    ]
    lines: list[str] = []
    for problems, what, advice in kinds:
        if problems:
            lines += [f"{what}:", *(f"  {problem}" for problem in problems), advice]
    if lines:
        raise UserError("\n".join(lines))
