"""The model file: a zip with the recipe, the networks, a manifest of their SHA-256, and the runtime's source.

Reading it executes nothing of it and unpickles nothing: JSON is parsed, ONNX goes to the engine.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ser_nnunet.errors import UserError
from ser_nnunet.runtime.recipe import Recipe, read_recipe

MANIFEST = "model/manifest.json"
RECIPE = "model/recipe.json"
CARD = "model/card.html"


@dataclass(frozen=True)
class ModelFile:
    """An opened model file; `open_model` checks it.

    Attributes:
        path: the file.
        manifest: `format`, `networks` (names of the ONNX parts) and `sha256` of every part but itself.
        recipe: see `Recipe`.
    """

    path: Path
    manifest: dict[str, Any]
    recipe: Recipe

    @property
    def networks(self) -> list[str]:
        """The ensemble's parts, one ONNX file each."""
        return list(self.manifest["networks"])

    @cached_property
    def sha256(self) -> str:
        """Of the manifest: it differs if any part does."""
        with zipfile.ZipFile(self.path) as archive:
            return hashlib.sha256(archive.read(MANIFEST)).hexdigest()

    @property
    def card(self) -> bytes:
        """The model card, an HTML page in UTF-8; `UserError` if the file was exported without one."""
        if CARD not in self.manifest["sha256"]:
            raise UserError(f"{self.path} holds no model card: export the model again")
        return self.read(CARD)

    def read(self, part: str) -> bytes:
        """Return a part, whose SHA-256 was checked when the file was opened."""
        with zipfile.ZipFile(self.path) as archive:
            return archive.read(part)


def open_model(path: Path) -> ModelFile:
    """Open a model file and check every part against its SHA-256.

    The check finds files that were damaged or changed carelessly; who wants to deceive can change the manifest too.

    Raises:
        UserError: the file is missing, is no model file, or has parts that were changed, added or removed.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = json.loads(archive.read(MANIFEST))
            recipe = json.loads(archive.read(RECIPE))
            sums = {name: hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist()}
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except (OSError, zipfile.BadZipFile, KeyError, ValueError, zlib.error) as error:
        raise UserError(
            f"{path}: expected a file that `ser-nnunet export` wrote, and it isn't one or is damaged ({error})"
        ) from error
    sums.pop(MANIFEST)
    expected = manifest["sha256"]
    changed = [
        f"{name}: {state}"
        for name in sorted({*sums, *expected})
        if (state := _state(sums.get(name), expected.get(name))) is not None
    ]
    if changed:
        raise UserError(
            f"{path}: parts differ from what was exported; get the file again from where it came\n  "
            + "\n  ".join(changed)
        )
    return ModelFile(path, manifest, read_recipe(recipe))


def _state(found: str | None, expected: str | None) -> str | None:
    if found is None or expected is None:
        return "missing" if found is None else "not part of the model"
    return None if found == expected else f"SHA-256 {found[:12]}... found, expected {expected[:12]}..."
