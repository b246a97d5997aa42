"""An evaluation as one self-contained HTML page: no network, no other file."""

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
from ser_nnunet.evaluation.lesion_classes import describe_lesion_classes
from ser_nnunet.evaluation.patients import describe_patients
from ser_nnunet.evaluation.report import charts
from ser_nnunet.evaluation.report.cases import select_best_median_worst
from ser_nnunet.evaluation.report.colours import METHOD_COLOURS, class_colour
from ser_nnunet.evaluation.report.panels import CasePanels, make_panels
from ser_nnunet.evaluation.report.views import view_evaluated_case
from ser_nnunet.evaluation.result import Evaluation
from ser_nnunet.evaluation.result_files import REPORT_MARK, check_report
from ser_nnunet.evaluation.text_tables import format_interval, format_number, format_p_value
from ser_nnunet.utils.files import write_text
from ser_nnunet.utils.variables import is_quiet


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
        evaluation: of `evaluate`, or read from its folder; the evaluated files must still exist if cases are drawn.
        file: of the page.
        cases: to draw in any case.
        pictures: how many of the best, of the median and of the worst cases are drawn; 0 draws none of them.
        rank_by: the metric that ranks the cases (mean over the classes, first method).
        title: of the page; None makes one from the data set's name.
        progress: whether to show a progress bar.

    Returns:
        `file`.

    Raises:
        UserError: an unknown case or metric, files that no longer exist, or another page of the report's name.
    """
    if rank_by not in {metric.name for metric in evaluation.metrics}:
        known = ", ".join(metric.name for metric in evaluation.metrics)
        raise UserError(f"this evaluation has no metric {rank_by!r} to rank by; it has {known}")
    selected = select_best_median_worst(evaluation, cases, pictures, rank_by)
    drawn = [
        (reason, make_panels(view_evaluated_case(evaluation, name)))
        for name, reason in tqdm(selected.items(), desc="drawing", unit="case", disable=not progress or is_quiet())
    ]
    page = _render_page(evaluation, drawn, title or f"Evaluation of {evaluation.about['dataset']}", rank_by)
    check_report(Path(file))
    return write_text(Path(file), page)


def _render_page(evaluation: Evaluation, drawn: list[tuple[str, CasePanels]], title: str, rank_by: str) -> str:
    folder = files("ser_nnunet.evaluation.report")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        "number": format_number,
        "interval": format_interval,
        "p_value": format_p_value,
        "anchor": charts.case_anchor,
    }
    template = environment.from_string((folder / "report.html.j2").read_text(encoding="utf-8"))
    headline = [metric for metric in evaluation.metrics if metric.headline]
    rows: list[dict[str, Any]] = [
        {str(key): value for key, value in row.items()} for row in evaluation.cases.to_dict(orient="records")
    ]
    measured = {name: {metric.name for metric in evaluation.settings.metrics_of(name)} for name in evaluation.classes}
    return template.render(
        title=title,
        evaluation=evaluation,
        about=evaluation.about,
        settings=evaluation.settings.as_json(),
        patients=describe_patients(evaluation.about["patients"]),
        confidence=f"{evaluation.settings.confidence:.0%}",
        count=evaluation.cases["case"].nunique(),
        css=Markup((folder / "report.css").read_text(encoding="utf-8")),
        js=Markup((folder / "report.js").read_text(encoding="utf-8")),
        mark=Markup(REPORT_MARK.decode()),
        colours=METHOD_COLOURS,
        class_colours={name: class_colour(place) for place, name in enumerate(evaluation.classes)},
        empty=evaluation.empty_predictions,
        measured=measured,
        counted=describe_lesion_classes(evaluation.classes, evaluation.settings),
        class_means=_group_class_means(evaluation),
        summary=_group_summary(evaluation),
        distributions=[(metric, Markup(charts.draw_distribution(evaluation, metric))) for metric in headline],
        volumes=[
            {
                "class": name,
                "chart": Markup(charts.draw_bland_altman(evaluation, name)),
                "limits": {each: charts.limits_of_agreement(evaluation, name, each) for each in evaluation.methods},
            }
            for name in evaluation.classes
        ],
        lesions=_describe_lesions(evaluation),
        table_metrics=[metric for metric in evaluation.metrics if metric.headline or metric.in_case_table],
        figure_metrics=[metric for metric in evaluation.metrics if metric.in_case_figures],
        rows=rows,
        drawn=drawn,
        rank_title=next(metric.title for metric in evaluation.metrics if metric.name == rank_by),
    )


def _group_class_means(evaluation: Evaluation) -> list[tuple[Metric, list[dict[str, Any]]]]:
    """Every headline metric with the mean of the classes' means of each method; empty if there is one class."""
    rows = evaluation.class_means.to_dict("records")
    found = {metric: [row for row in rows if row["metric"] == metric.name] for metric in evaluation.metrics}
    return [(metric, means) for metric, means in found.items() if means]


def _group_summary(evaluation: Evaluation) -> dict[str, list[dict[str, Any]]]:
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
            for metric in evaluation.headline(name)
        ]
        for name in evaluation.classes
    }


def _describe_lesions(evaluation: Evaluation) -> list[dict[str, Any]]:
    """A chart and a table of lesion sensitivity by size per class; empty if lesions were not evaluated."""
    tables = {
        name: charts.tabulate_lesion_sensitivity(evaluation, name)
        for name in evaluation.classes
        if "lesions_found" in {metric.name for metric in evaluation.settings.metrics_of(name)}
    }
    return [
        {
            "class": name,
            "chart": Markup(charts.draw_lesion_sensitivity(table, evaluation, name)),
            "rows": table.to_dict("records"),
        }
        for name, table in tables.items()
    ]
