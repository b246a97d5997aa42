"""An evaluation as one HTML page that needs nothing else: no network, no other file."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from tqdm import tqdm

from ser_nnunet.errors import UserError
from ser_nnunet.evaluation.definitions import Metric
from ser_nnunet.evaluation.report import charts
from ser_nnunet.evaluation.report.case_figures import rank_cases, view_of
from ser_nnunet.evaluation.report.panels import CasePanels, case_panels
from ser_nnunet.evaluation.result import Evaluation
from ser_nnunet.evaluation.text_tables import number, p_value

COUNTS = ("lesions_found", "lesions_missed", "lesions_false")
SHOWN_IN_TABLE = ("HD_mm", "reference_ml", "prediction_ml", *COUNTS)
CAPTIONS = ("Dice", "NSD", "HD95_mm", "reference_ml", "prediction_ml", *COUNTS)


def write_report(
    evaluation: Evaluation,
    file: Path,
    *,
    cases: Sequence[str] = (),
    pictures: int = 2,
    rank_by: str = "Dice",
    title: str | None = None,
    progress: bool = True,
) -> Path:
    """Write an evaluation as a self-contained HTML page.

    Args:
        evaluation: of `evaluate`, or read from its folder; its segmentations must still be there for pictures.
        file: of the page.
        cases: that are drawn in any case.
        pictures: how many of the best, of the median and of the worst cases are drawn; 0 draws none of them.
        rank_by: the metric that says which these are (mean over the classes, first method).
        title: of the page; None makes one from the data set's name.
        progress: whether to show a progress bar.

    Returns:
        `file`.

    Raises:
        UserError: an unknown case or metric, or files that are no longer there.
    """
    if rank_by not in {metric.name for metric in evaluation.metrics}:
        known = ", ".join(metric.name for metric in evaluation.metrics)
        raise UserError(f"this evaluation has no metric {rank_by!r} to rank by; it has {known}")
    chosen = pick_cases(evaluation, cases, pictures, rank_by)
    drawn = [
        (label, case_panels(view_of(evaluation, name)))
        for name, label in tqdm(chosen.items(), desc="drawing", unit="case", disable=not progress)
    ]
    page = _render(evaluation, drawn, title or f"Evaluation of {evaluation.about['dataset']}", rank_by)
    file = Path(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.partial")
    partial.write_text(page, encoding="utf-8")
    partial.replace(file)
    return file


def pick_cases(evaluation: Evaluation, asked: Sequence[str], count: int, rank_by: str) -> dict[str, str]:
    """Return case -> why it is shown: the asked ones, then `count` each of the worst, median and best ones."""
    better = next(metric.better for metric in evaluation.metrics if metric.name == rank_by)
    ranked = rank_cases(evaluation, rank_by)  # rising
    count = min(count, max(1, len(ranked) // 3)) if count else 0  # few cases: none is best and worst at once
    if better == "lower":
        ranked = ranked[::-1]
    middle = max(0, (len(ranked) - count + 1) // 2)
    groups = {
        "asked for": list(asked),
        "worst": ranked[:count],
        "best": ranked[::-1][:count],
        "median": ranked[middle : middle + count],
    }
    labels: dict[str, list[str]] = {}
    for group, names in groups.items():
        for place, name in enumerate(names):
            ordinal = f" {place + 1}" if count > 1 and group in ("worst", "best") else ""
            labels.setdefault(name, []).append(f"{group}{ordinal}")
    order = ["asked for", "best", "median", "worst"]
    place_of = {
        name: min(order.index(label.rstrip(" 0123456789")) for label in found) for name, found in labels.items()
    }
    return {name: ", ".join(labels[name]) for name in sorted(labels, key=place_of.__getitem__)}


def _render(evaluation: Evaluation, drawn: list[tuple[str, CasePanels]], title: str, rank_by: str) -> str:
    folder = files("ser_nnunet.evaluation.report")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"number": number, "p_value": p_value, "anchor": charts.case_anchor}
    template = environment.from_string((folder / "report.html.j2").read_text(encoding="utf-8"))
    headline = [metric for metric in evaluation.metrics if metric.headline]
    return template.render(
        title=title,
        evaluation=evaluation,
        about=evaluation.about,
        settings=evaluation.settings.as_json(),
        confidence=f"{evaluation.settings.confidence:.0%}",
        count=evaluation.cases["case"].nunique(),
        css=Markup((folder / "report.css").read_text(encoding="utf-8")),
        js=Markup((folder / "report.js").read_text(encoding="utf-8")),
        headline=headline,
        colours=charts.COLOURS,
        summary=_summary(evaluation, headline),
        distributions=[(metric, Markup(charts.distribution(evaluation, metric))) for metric in headline],
        volumes=[_volumes(evaluation, name) for name in evaluation.classes],
        lesions=_lesions(evaluation),
        columns=_columns(evaluation),
        rows=evaluation.cases.to_dict(orient="records"),
        drawn=drawn,
        captions={panels.case: _captions(evaluation, panels.case) for _, panels in drawn},
        rank_title=next(metric.title for metric in evaluation.metrics if metric.name == rank_by),
    )


def _summary(evaluation: Evaluation, headline: list[Metric]) -> dict[str, list[dict[str, Any]]]:
    """Class -> rows of the summary: a metric, its numbers for every method, and the tests of the other methods."""
    numbers = {(row["method"], row["class"], row["metric"]): row for row in evaluation.summary.to_dict("records")}
    tests = {(row["other"], row["class"], row["metric"]): row for row in evaluation.comparison.to_dict("records")}
    first, *others = evaluation.methods
    return {
        name: [
            {
                "metric": metric,
                "first": numbers[first, name, metric.name],
                "others": [
                    {"numbers": numbers[other, name, metric.name], "test": tests[other, name, metric.name]}
                    for other in others
                ],
            }
            for metric in headline
        ]
        for name in evaluation.classes
    }


def _volumes(evaluation: Evaluation, name: str) -> dict[str, Any]:
    limits = {method: charts.agreement(evaluation, name, method) for method in evaluation.methods}
    return {"class": name, "chart": Markup(charts.bland_altman(evaluation, name)), "limits": limits}


def _lesions(evaluation: Evaluation) -> list[dict[str, Any]]:
    if "lesions" not in evaluation.settings.groups:
        return []
    return [
        {
            "class": name,
            "chart": Markup(charts.sensitivity_chart(evaluation, name)),
            "rows": charts.sensitivity_by_size(evaluation, name).to_dict("records"),
        }
        for name in evaluation.classes
    ]


def _columns(evaluation: Evaluation) -> list[Metric]:
    return [metric for metric in evaluation.metrics if metric.headline or metric.name in SHOWN_IN_TABLE]


def _captions(evaluation: Evaluation, case: str) -> list[dict[str, Any]]:
    """A case's figures: a row per class and method."""
    metrics = [metric for metric in evaluation.metrics if metric.name in CAPTIONS]
    rows = evaluation.cases[evaluation.cases["case"] == case]
    return [
        {"method": row["method"], "class": row["class"], "values": [(metric, row[metric.name]) for metric in metrics]}
        for row in rows.to_dict("records")
    ]
