"""The record in the output folder: which model and settings its masks are of, and which masks count as done."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ser_nnunet.errors import UserError
from ser_nnunet.runtime.input_cases import image_ending
from ser_nnunet.runtime.model import Model

RECORD = "prediction.json"
SETTINGS = ("model_sha256", "mirror_axes", "step")
EARLIER = "masks_of_earlier_settings"
"""In the record: names of masks of another model or other settings, each until it is replaced."""


class PredictionRecord:
    """Reads and writes the record of a folder of masks.

    Args:
        model: the model and its settings.
        output: the folder, which need not exist.
        targets: the masks that are asked for.
        overwrite: whether those that are there are predicted again.

    Raises:
        UserError: the folder holds another program's file of the record's name, or masks of another model or other
            settings that would not all be replaced.
        OSError: the record can't be read.
    """

    def __init__(self, model: Model, output: Path, targets: Sequence[Path], overwrite: bool) -> None:
        self.file, self.overwrite = output / RECORD, overwrite
        self.content = {
            "model_sha256": model.file.sha256,
            "mirror_axes": list(model.mirror_axes),
            "step": model.step,
            "provenance": dict(model.recipe.provenance),
        }
        known = _read(self.file)
        there = [target.name for target in targets if target.exists()]
        if all(known.get(key) == self.content[key] for key in SETTINGS):
            found = known.get(EARLIER, [])
            self.earlier = set(map(str, found)) if isinstance(found, list) else set()
            return
        found = sorted(output.glob("[!.]*")) if known else []  # what a killed process left begins with a dot
        masks = [entry.name for entry in found if image_ending(entry)] or there
        # Masks of other cases would count as the new model's if only the record were replaced.
        kept = [name for name in masks if not overwrite or name not in there]
        if kept:
            raise UserError(
                f"{output} holds masks of another model or of other settings ({', '.join(sorted(kept)[:3])}"
                f"{' and others' if len(kept) > 3 else ''}): choose another folder"
                f"{'' if overwrite else ', or --overwrite to predict these cases again'}"
            )
        self.earlier = set(there)

    def is_done(self, target: Path) -> bool:
        """Return whether a mask is there and need not be predicted again."""
        return not self.overwrite and target.name not in self.earlier and target.exists()

    def note_written(self, target: Path) -> None:
        """Note that a mask is of the record's settings now."""
        if target.name in self.earlier:
            self.earlier.remove(target.name)
            self.write()

    def write(self) -> None:
        """Write the record, completely or not at all."""
        content = {**self.content, **({EARLIER: sorted(self.earlier)} if self.earlier else {})}
        self.file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.file.with_name(f".unfinished_{RECORD}")
        unfinished.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        unfinished.replace(self.file)


def _read(file: Path) -> dict[str, Any]:
    """Return the content of a record, empty if there is none; `UserError` for another program's file."""
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        known, found = None, f"no JSON ({error})"
    else:
        found = f"an object without {SETTINGS[0]}" if isinstance(known, dict) else type(known).__name__
    if not isinstance(known, dict) or SETTINGS[0] not in known:
        raise UserError(
            f"{file}: the record of an earlier prediction expected (an object with {SETTINGS[0]}), found {found}: "
            "choose another output folder, or move this file away"
        )
    return known
