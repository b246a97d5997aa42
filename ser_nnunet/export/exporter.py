"""Export of a trained model: from a model folder to a model file and its model card."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ser_nnunet.errors import UserError
from ser_nnunet.export.fold_files import require_exportable
from ser_nnunet.export.output_files import find_card_file
from ser_nnunet.runtime.recipe import Recipe
from ser_nnunet.runtime.requirements import available_engines


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: the file.
        card: the model card beside it.
        recipe: its recipe.
        differences: of each network's logits to torch's, as a part of the largest logit.
    """

    path: Path
    card: Path
    recipe: Recipe
    differences: dict[str, float]


def export_model(
    folder: Path,
    target: Path,
    folds: Sequence[str] | None = None,
    checkpoint: str = "checkpoint_final.pth",
    report: Callable[[str], None] = lambda line: None,
    picture: str | None = None,
) -> Exported:
    """Write a trained model as one file, and the model card that is in it beside it.

    Args:
        folder: nnU-Net's, `TRAINER__PLANS__CONFIGURATION`.
        target: the file, replaced if an export wrote it; the card has its name with `.html` in place of `.pyz`.
        folds: see `find_checkpoints`.
        checkpoint: file name in the folds' folders.
        report: called with a line per step.
        picture: a validation case that the card shows, or `median`; None shows none.

    Raises:
        UserError: packages are missing, the folder isn't a model that can be exported, or see `find_card_file`.
    """
    if find_spec("onnx") is None or not available_engines():
        raise UserError("export needs onnx and onnxruntime: python -m pip install onnx onnxruntime")
    require_exportable(folder, target, folds, checkpoint)
    card_file = find_card_file(target)
    from ser_nnunet.export.model_card import make_card
    from ser_nnunet.export.model_folder import read_model_folder
    from ser_nnunet.export.model_writer import write_model_file
    from ser_nnunet.export.onnx_graph import check_onnx, to_onnx

    model = read_model_folder(folder, folds, checkpoint)
    networks, differences = {}, {}
    for name, network in model.networks():
        networks[name] = to_onnx(network, model.recipe)
        differences[name] = check_onnx(networks[name], network, model.recipe)
        report(f"{name}: {len(networks[name]) / 1e6:.1f} MB, logits within {differences[name]:.1g} of torch's")
    card = make_card(model, folder, networks, picture, report)
    write_model_file(target, card_file, model.recipe, networks, card)
    return Exported(target, card_file, model.recipe, differences)
