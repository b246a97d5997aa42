"""Problems of a data set: collected, never raised one by one, and told as one list."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ser_nnunet.errors import UserError

if TYPE_CHECKING:
    from ser_nnunet.dataset_conversion.core.pipeline import Report

LEAVE_OUT = "or leave the case out with --exclude CASE"

ADVICE = {
    "missing image": f"add the file, choose the channels that all cases have with --channels, {LEAVE_OUT}",
    "label without image": f"add the images, {LEAVE_OUT}",
    "image without label": f"add the label, {LEAVE_OUT}",
    "duplicate case": "move one of the copies out of SOURCE",
    "unreadable": f"get the file again, {LEAVE_OUT}",
    "series": f"keep exactly one complete CT series per case, {LEAVE_OUT}",
    "components": "get the file again: dataset.json and the image disagree",
    "geometry": f"the two do not lie on the same grid in the world; get them again, {LEAVE_OUT}",
    "non-integer label": f"a label holds whole numbers (1e-3 is forgiven); get it again, {LEAVE_OUT}",
    "label value": f"the data set declares other values; get the label again, {LEAVE_OUT}",
    "empty mask": f"this data set has no cases without foreground; get the label again, {LEAVE_OUT}",
    "NaN or Inf": f"get the image again, {LEAVE_OUT}",
    "constant image": f"an image of one value says nothing; choose other channels with --channels, {LEAVE_OUT}",
    "same image twice": "one of the two is a copy under a wrong name; get it again or use --exclude CASE",
    "same label twice": "one of the two is a copy under a wrong name; get it again or use --exclude CASE",
    "mask volume": f"the mask is not the one of the release; get it again, {LEAVE_OUT}",
    "Hounsfield values": f"image and label do not belong together, or one is flipped; get them again, {LEAVE_OUT}",
    "patient in train and test": "a patient belongs to one side; use --exclude CASE for the scans of the other",
    "train or test": "rename the folder, move the scan, or leave it out with --exclude CASE",
    "no training cases": "point SOURCE at a folder that holds the training data, too; --dry-run lists every case",
    "too few cases": "finish the download, or accept what is there with --allow-partial",
    "too many cases": "SOURCE holds more than the official release; move what is not part of it elsewhere",
    "exclude": "name cases as --dry-run lists them",
}


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong or worth knowing; `fatal` ones keep anything from being written."""

    kind: str
    case: str
    text: str
    """Names the file, what was expected and what was found."""
    fatal: bool = True


class ConversionError(UserError):
    """The data set cannot be converted as it is.

    `problems` holds every problem found, not only the first; `report` the table of cases as it was found.
    """

    def __init__(self, problems: Sequence[Problem], report: Report | None = None) -> None:
        """Build the message from all problems, fatal ones first."""
        self.report = report
        self.problems = tuple(sorted(problems))
        fatal = [problem for problem in self.problems if problem.fatal]
        noted = [problem for problem in self.problems if not problem.fatal]
        head = f"{len(fatal)} problem{'s' * (len(fatal) != 1)}, nothing was written\n"
        super().__init__(head + listing(fatal) + (f"\nalso noted\n{listing(noted)}" if noted else ""))


def listing(problems: Iterable[Problem]) -> str:
    """Return the problems as indented lines, grouped by kind, each kind with what to do about it."""
    groups: dict[str, list[Problem]] = {}
    for problem in sorted(problems):
        groups.setdefault(problem.kind, []).append(problem)
    lines = []
    for kind, group in groups.items():
        lines.append(f"  {kind} ({len(group)})")
        lines += [f"    {problem.case + ': ' if problem.case else ''}{problem.text}" for problem in group]
        if kind in ADVICE and any(problem.fatal for problem in group):
            lines.append(f"    -> {ADVICE[kind]}")
    return "\n".join(lines)
