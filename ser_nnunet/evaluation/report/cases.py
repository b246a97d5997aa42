"""The cases of an evaluation: ranked by a metric, selected from that ranking, and their files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ser_nnunet.errors import UserError
from ser_nnunet.evaluation.case_files import CaseFiles
from ser_nnunet.evaluation.result import Evaluation


def rank_cases(evaluation: Evaluation, metric: str = "Dice") -> list[str]:
    """Return the first method's cases by a metric's mean over the classes, ascending; undefined ones are left out."""
    rows = evaluation.cases[evaluation.cases["method"] == evaluation.methods[0]]
    means = rows.groupby("case")[metric].mean().dropna()
    return [str(name) for name in means.sort_values(kind="stable").index]


def select_evenly(evaluation: Evaluation, count: int) -> list[str]:
    """Return `count` cases at evenly spaced ranks of mean Dice over the classes, the worst first."""
    ranked = rank_cases(evaluation)
    if not ranked:
        return list(dict.fromkeys(evaluation.cases["case"]))[:count]
    places = np.unique(np.linspace(0, len(ranked) - 1, min(count, len(ranked))).round().astype(int))
    return [ranked[place] for place in places]


def select_best_median_worst(
    evaluation: Evaluation, requested: Sequence[str], count: int, rank_by: str
) -> dict[str, str]:
    """Return case -> why it is shown, such as "best 1" or "requested, worst 2".

    Args:
        evaluation: of `evaluate`.
        requested: cases that are shown in any case, first.
        count: of the best, of the median and of the worst cases each; less than that where there are few cases, so that
            the groups don't overlap.
        rank_by: name of the metric.
    """
    better = next(metric.better for metric in evaluation.metrics if metric.name == rank_by)
    ranked = rank_cases(evaluation, rank_by)
    count = min(count, max(1, len(ranked) // 3)) if count else 0
    if better == "lower":
        ranked = ranked[::-1]  # the worst first, whatever the direction
    middle = max(0, (len(ranked) - count + 1) // 2)
    groups = {
        "requested": list(requested),
        "best": ranked[::-1][:count],
        "median": ranked[middle : middle + count],
        "worst": ranked[:count],
    }
    reasons: dict[str, list[str]] = {}
    for group, names in groups.items():
        for place, name in enumerate(names, start=1):
            numbered = count > 1 and group in ("best", "worst")
            reasons.setdefault(name, []).append(f"{group} {place}" if numbered else group)
    return {name: ", ".join(found) for name, found in reasons.items()}


def find_case_files(evaluation: Evaluation, name: str) -> CaseFiles:
    """Return a case's files in the folders that were evaluated.

    Raises:
        UserError: a file that no longer exists, or a case that was not evaluated.
    """
    known = sorted(set(evaluation.cases["case"]))
    if name not in known:
        raise UserError(f"{name} is not an evaluated case; there are {', '.join(known)}")
    about, ending = evaluation.about, evaluation.about["file_ending"]
    reference = Path(about["reference"]) / f"{name}{ending}"
    predictions = {method: Path(folder) / f"{name}{ending}" for method, folder in about["methods"].items()}
    image = Path(about["images"]) / f"{name}_0000{ending}" if about["images"] else None
    missing = [str(file) for file in [reference, *predictions.values()] if not file.is_file()]
    if missing:
        raise UserError(
            f"{name} cannot be drawn, these files no longer exist: {', '.join(missing)}."
            " Evaluate again, or write the report without case figures: --pictures 0"
        )
    return CaseFiles(name, reference, predictions, image if image and image.is_file() else None)
