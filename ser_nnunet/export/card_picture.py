"""The model card's picture: a validation case with the outlines of reference and prediction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

from ser_nnunet.errors import UserError
from ser_nnunet.evaluation.case_files import CaseFiles
from ser_nnunet.evaluation.labels import Labels
from ser_nnunet.evaluation.report.panels import CasePanels, make_panels
from ser_nnunet.evaluation.report.views import view_case
from ser_nnunet.export.validation_dice import REFERENCES, Validation
from ser_nnunet.nnunet.paths import PREPROCESSED, RAW, nnunet_folder

MEDIAN = "median"  # chooses the case whose mean Dice is the median


@dataclass(frozen=True)
class Picture:
    """A validation case, without its name.

    Attributes:
        panels: the whole slice, and the part of it with the outlines.
        is_median: whether its mean Dice is the median of all cases.
        dice: label -> Dice of the case.
    """

    panels: CasePanels
    is_median: bool
    dice: Mapping[str, float]


def draw_validation_case(
    choice: str, folder: Path, validation: Validation | None, labels: Labels, dataset: str
) -> Picture | str:
    """Return the picture, or a sentence that says why there is none.

    The slice is the one with most foreground; the image is the first channel in nnUNet_raw.

    Args:
        choice: a case, or `median`.
        folder: the model folder.
        validation: of its folds.
        labels: of its dataset.json.
        dataset: the data set's name.

    Raises:
        UserError: no validation case of this name, or files that can't be read or don't fit together.
    """
    if validation is None:
        return "no picture: no fold has been validated (nnUNetv2_train ... --val)"
    case = validation.median_case() if choice == MEDIAN else choice
    if case not in validation.fold_of:
        raise UserError(f"--picture {choice}: not one of the {len(validation.fold_of)} validation cases of the folds")
    roots = {variable: nnunet_folder(variable) for variable in (RAW, PREPROCESSED)}
    places = {variable: root / PurePath(dataset).name for variable, root in roots.items() if root is not None}
    name = f"{case}{labels.file_ending}"
    references = [
        places[variable] / part / name
        for variable, part in ((PREPROCESSED, REFERENCES), (RAW, "labelsTr"))
        if variable in places
    ]
    images = [places[RAW] / "imagesTr" / f"{case}_0000{labels.file_ending}"] if RAW in places else []
    predictions = [folder / f"fold_{validation.fold_of[case]}" / "validation" / name]
    files = {"image": images, "reference": references, "prediction": predictions}
    there = {what: next((file for file in named if file.is_file()), None) for what, named in files.items()}
    if absent := [what for what, file in there.items() if file is None]:
        looked = ", ".join(str(file) for what in absent for file in files[what])
        hint = f"looked for {looked}" if looked else f"set {RAW} and {PREPROCESSED}"
        return f"no picture: the case's {' and '.join(absent)} not found ({hint})"
    image, reference, prediction = there.values()
    assert reference is not None and prediction is not None
    files_of_case = CaseFiles(case, reference, {"prediction": prediction}, image)
    view = view_case(files_of_case, labels.classes, labels.ignore, most_foreground=True)
    dice = {str(label): float(value) for label, value in validation.dice.loc[case].items()}
    return Picture(make_panels(view), case == validation.median_case(), dice)
