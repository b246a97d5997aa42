"""Problems of a data set as text: one list of all of them, with what to do about each kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ser_nnunet.dataset_conversion.core.data_classes import ConversionReport, Problem
from ser_nnunet.errors import UserError

EXCLUDE = "or exclude the case with --exclude CASE"

ADVICE = {
    "missing image": f"add the file, choose the channels that all cases have with --channels, {EXCLUDE}",
    "label without image": f"add the images, {EXCLUDE}",
    "image without label": f"add the label, {EXCLUDE}",
    "duplicate case": "move one of the copies out of SOURCE, or out of the folder of scans without labels",
    "case name": "rename the files of the scan without label, or remove them if it is the same scan",
    "unlabelled file": "rename it, or move it out of the folder of scans without labels",
    "extra channel": "remove the file, or choose the channels of the data set with --channels",
    "unreadable": f"download the file again, {EXCLUDE}",
    "sheared axes": "nnU-Net reads such a file by its NibabelIO alone: resample image and label to perpendicular axes "
    "(nibabel.processing.resample_to_output, the label with order=0); or write nnU-Net's files yourself, with "
    f"overwrite_image_reader_writer NibabelIO in dataset.json, {EXCLUDE}",
    "series": f"keep exactly one complete CT series per case, {EXCLUDE}",
    "components": f"download the file again (its number of channels is not the data set's), {EXCLUDE}",
    "geometry": f"the two do not lie on the same grid in the world; download them again, {EXCLUDE}",
    "non-integer label": f"a label holds integers (a deviation of 1e-3 is rounded); download it again, {EXCLUDE}",
    "label value": f"the data set declares other values; download the label again, {EXCLUDE}",
    "empty mask": f"this data set has no cases without foreground; download the label again, {EXCLUDE}",
    "NaN or Inf": f"download the image again, {EXCLUDE}",
    "constant image": f"an image of one value holds no information; choose other channels with --channels, {EXCLUDE}",
    "duplicate image": f"one of the two is a copy under a wrong name; download it again, {EXCLUDE}",
    "duplicate label": f"one of the two is a copy under a wrong name; download it again, {EXCLUDE}",
    "Hounsfield values": f"image and label are not of the same scan, or one is flipped; download them again, {EXCLUDE}",
    "patient in train and test": "a patient belongs to one side; use --exclude CASE for the scans of the other",
    "no training cases": "SOURCE must hold the training data, too; --dry-run lists every case",
    "too few cases": "complete the download, or accept what is there with --allow-partial",
    "too many cases": "SOURCE holds more than the official release; move what is not part of it elsewhere",
    "exclude": "name cases as --dry-run lists them",
}
"""Kind of problem -> what to do about it, for the kinds that data sets share; see also `DatasetInfo.advice`."""


class ConversionError(UserError):
    """The data set cannot be converted as it is.

    `problems` holds every problem found, not only the first; `report` the table of cases as it was found.
    """

    def __init__(self, problems: Sequence[Problem], report: ConversionReport | None = None) -> None:
        """Build the message from all problems, fatal ones first."""
        self.report = report
        self.problems = tuple(sorted(problems))
        fatal = [problem for problem in self.problems if problem.fatal]
        notes = [problem for problem in self.problems if not problem.fatal]
        advice = {**ADVICE, **(report.info.advice if report else {})}
        text = f"{len(fatal)} problem{'s' * (len(fatal) != 1)}, nothing was written\n{format_problems(fatal, advice)}"
        super().__init__(text + (f"\nalso noted\n{format_problems(notes)}" if notes else ""))


def format_problems(problems: Iterable[Problem], advice: Mapping[str, str] | None = None) -> str:
    """Return the problems as indented lines, grouped by kind, each kind with the advice for it, if any."""
    groups: dict[str, list[Problem]] = {}
    for problem in sorted(problems):
        groups.setdefault(problem.kind, []).append(problem)
    lines = []
    for kind, group in groups.items():
        lines.append(f"  {kind} ({len(group)})")
        lines += [f"    {problem.case + ': ' if problem.case else ''}{problem.text}" for problem in group]
        if advice and kind in advice:
            lines.append(f"    -> {advice[kind]}")
    return "\n".join(lines)
