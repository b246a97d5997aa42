"""What a model card says against its model: limits that hold for every model, and those of its folds and figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ser_nnunet.export.validation_dice import Validation
from ser_nnunet.runtime.recipe import Recipe

ALWAYS = (
    "Images of other scanners, protocols, patient groups or diseases than those of its data set may be segmented "
    "worse. The input is checked for spacing and intensities alone: most such differences cause no warning.",
    "It gives its labels to any image. It does not recognise another part of the body, another sequence, or a finding "
    "that it was not trained for.",
)
VALIDATED = "checkpoint_final.pth"  # by nnU-Net, at the end of a training


def describe_limits(recipe: Recipe, validation: Validation | None) -> list[str]:
    """Return sentences.

    Args:
        recipe: of the exported model.
        validation: of its folds; None if there is none.
    """
    return [*_limits_of_figures(recipe, validation), *ALWAYS]


def _limits_of_figures(recipe: Recipe, validation: Validation | None) -> Iterator[str]:
    folds: Sequence[str] = recipe.provenance["folds"]
    if validation is None:
        yield "No fold has been validated: how well this model segments is not known."
        return
    cases = len(validation.dice)
    yield (
        f"The figures are of {cases} {'case' if cases == 1 else 'cases'} of the data set that the model was trained "
        "on, not of an independent test set. The intervals cover the choice of patients from this data set and nothing "
        "else."
    )
    if "all" in folds:
        yield "Fold all was trained on all cases: its validation cases are training cases, and its Dice is too high."
    if validation.missing:
        yield f"Not validated, and not in the figures: {name_folds(validation.missing)}."
    if len(folds) > 1:
        yield (
            f"The file averages the networks of {len(folds)} folds. The figures are those of the single folds, each on "
            "its own validation cases. The average has not been validated: other folds were trained on these cases."
        )
    if recipe.provenance["checkpoint"] != VALIDATED:
        yield (
            f"The exported weights are {recipe.provenance['checkpoint']}. nnU-Net validates the weights at the end of "
            "the training, unless it was told to take the best ones (--val_best): the figures may be of other weights."
        )
    if validation.undefined:
        yield (
            f"{validation.undefined} values are missing in the figures: the Dice of a label that neither the reference "
            "nor the prediction has in a case is undefined."
        )


def name_folds(folds: Sequence[str]) -> str:
    """Return "fold 0" or "folds 0, 1"."""
    return f"{'fold' if len(folds) == 1 else 'folds'} {', '.join(folds)}"
