"""A verification as one self-contained HTML page in the style of the evaluation's report."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from tqdm import tqdm

from ser_nnunet.evaluation.report.charts import case_anchor
from ser_nnunet.evaluation.report.panels import CasePanels
from ser_nnunet.utils.files import write_text
from ser_nnunet.utils.printable import printable
from ser_nnunet.verification.case_pictures import draw_case
from ser_nnunet.verification.finding_kinds import ADVICE, CHECKS
from ser_nnunet.verification.verification_files import PAGE_MARK, check_outputs
from ser_nnunet.verification.verification_result import (
    Verification,
    count_findings,
    describe_dataset,
    describe_grouping,
)


def write_page(result: Verification, file: Path, *, pictures: int = 20, progress: bool = True) -> Path:
    """Write the page; return its path.

    Args:
        result: of `verify`; the files of the data set must still exist for the pictures.
        file: of the page.
        pictures: how many cases with findings are drawn at most, errors first.
        progress: whether to show a progress bar.

    Raises:
        UserError: there is a file of this name that is no page of a verification, or it can't be written.
    """
    check_outputs(json_file=None, page=Path(file))
    cases = list(dict.fromkeys(each.case for each in result.findings if each.case in result.files))[:pictures]
    drawn: list[tuple[CasePanels, list[str]]] = []
    for case in tqdm(cases, desc="drawing", unit="case", disable=not progress or not cases):
        panels = draw_case(case, *result.files[case], result.about["reader"])
        if panels is not None:
            kinds = list(dict.fromkeys(each.kind for each in result.findings if each.case == case))
            drawn.append((panels, kinds))
    own, report = files("ser_nnunet.verification"), files("ser_nnunet.evaluation.report")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"anchor": case_anchor, "printable": printable}
    template = environment.from_string((own / "verification.html.j2").read_text("utf-8"))
    page = template.render(
        mark=Markup(PAGE_MARK.decode()),
        title=f"Verification of {result.about['dataset']}",
        about=result.about,
        dataset=describe_dataset(result.about),
        grouping=describe_grouping(result.about),
        counts=count_findings(result),
        findings=result.findings,
        kinds=result.kinds(),
        advice=ADVICE,
        checks=CHECKS,
        drawn=drawn,
        css=Markup((report / "report.css").read_text("utf-8") + (own / "verification.css").read_text("utf-8")),
        js=Markup((report / "report.js").read_text("utf-8")),
    )
    return write_text(Path(file), page)
