"""The model card: one self-contained HTML page on what a model is, what it was trained on and how well it did."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from ser_nnunet.evaluation.labels import read_labels
from ser_nnunet.evaluation.text_tables import format_interval, format_number
from ser_nnunet.export.card_limits import describe_limits
from ser_nnunet.export.card_picture import draw_validation_case
from ser_nnunet.export.model_folder import TrainedModel
from ser_nnunet.export.training_record import TrainingRecord
from ser_nnunet.export.validation_dice import read_validation
from ser_nnunet.runtime.input_checks import SPACING_MARGIN
from ser_nnunet.runtime.recipe import Recipe
from ser_nnunet.utils.printable import printable

FROM_DATASET_JSON = {"Licence": ("licence", "license"), "Reference": ("reference",), "Citation": ("citation",)}
COMMANDS = ("python -m pip install numpy SimpleITK onnxruntime", "python MODEL.pyz -i IMAGES -o MASKS")
"""By which an exported model file is used."""


def make_card(
    model: TrainedModel,
    folder: Path,
    networks: Mapping[str, bytes],
    picture: str | None = None,
    report: Callable[[str], None] = lambda line: None,
    commands: Sequence[str] = COMMANDS,
) -> bytes:
    """Return the page in UTF-8; the same model gives the same bytes.

    It holds no name of a case and no path. A picture is a slice of a patient's image.

    Args:
        model: what `read_model_folder` returned.
        folder: that it was read from.
        networks: the ONNX files by name; none in nnU-Net's format.
        picture: a validation case to show, or `median`; None shows none.
        report: called with a sentence on the picture.
        commands: by which the model is used.

    Raises:
        UserError: the folder's dataset.json or summaries of validations are none of nnU-Net's, or see
            `draw_validation_case`.
    """
    recipe, labels = model.recipe, read_labels(folder / "dataset.json")
    known = recipe.provenance
    validation = read_validation(folder, known["folds"], labels, known["dataset"])
    drawn = draw_validation_case(picture, folder, validation, labels, known["dataset"]) if picture else None
    if isinstance(drawn, str):
        report(drawn)
        drawn = None
    elif drawn is not None:
        report("the model card shows a slice of a patient's image, in the file as beside it")
    stated = {
        title: next((labels.content[key] for key in keys if labels.content.get(key)), "not stated in dataset.json")
        for title, keys in FROM_DATASET_JSON.items()
    }
    base, own = (files(f"ser_nnunet.{package}") for package in ("evaluation.report", "export"))
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_show
    )
    environment.filters |= {"number": format_number, "range": format_range, "interval": format_interval}
    page = environment.from_string((own / "card.html.j2").read_text(encoding="utf-8")).render(
        css=Markup((base / "report.css").read_text("utf-8") + (own / "card.css").read_text("utf-8")),
        recipe=recipe,
        known=known,
        description=labels.content.get("description") or "not stated in dataset.json",
        stated=stated,
        classes=labels.classes,
        ignore=labels.ignore,
        validation=validation,
        picture=drawn,
        axes=[axes_of(recipe)[-recipe.dimension :], axes_of(recipe)],
        trainings=describe_trainings(model.trainings),
        parameters=sum(weight.numel() for weight in model.network.parameters()),
        megabytes=[len(onnx) / 1e6 for onnx in networks.values()],
        spacing_margin=SPACING_MARGIN,
        limits=describe_limits(recipe, validation),
        commands=commands,
    )
    return page.encode()


def axes_of(recipe: Recipe) -> list[str]:
    """Return the image's axis (z, y or x) of each of nnU-Net's axes."""
    return ["zyx"[axis] for axis in recipe.transpose_forward]


def format_range(limits: Sequence[float]) -> str:
    """Return "0.9 to 1.2", or the one number that both ends are; four significant digits, no exponents."""
    low, high = (f"{end:,.0f}" if abs(end) >= 1000 else f"{end:.4g}" for end in limits)
    return low if low == high else f"{low} to {high}"


def describe_trainings(trainings: Sequence[TrainingRecord]) -> dict[str, str]:
    """Return what is recorded of the folds' trainings by its title; folds that differ are listed."""
    found: dict[str, dict[str, Any]] = {
        "Epochs": {each.fold: each.epochs for each in trainings},
        "Iterations per epoch": {each.fold: each.iterations for each in trainings},
        "Batch size": {each.fold: each.batch_size for each in trainings},
        "Last epoch (UTC)": {each.fold: each.date for each in trainings},
        "torch while training": {each.fold: each.torch for each in trainings},
    }
    texts = {}
    for title, of_folds in found.items():
        values = {fold: str(value) if value not in (None, "") else "not recorded" for fold, value in of_folds.items()}
        same = len(set(values.values())) == 1
        listed = (f"{value} (fold {fold})" for fold, value in values.items())
        texts[title] = next(iter(values.values())) if same else ", ".join(listed)
    return texts


def _show(value: Any) -> Any:
    """Return what jinja writes: names from files without control codes."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value
