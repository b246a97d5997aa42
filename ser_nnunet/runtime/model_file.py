"""The model file: a zip with the recipe, the networks, a manifest of their SHA-256, and the runtime's source.

Reading it executes nothing of it and unpickles nothing: JSON is parsed, ONNX goes to the engine.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ser_nnunet.errors import UserError
from ser_nnunet.runtime.recipe import Recipe, read_recipe
from ser_nnunet.utils.regular_files import regular_size

MANIFEST = "model/manifest.json"
RECIPE = "model/recipe.json"
CARD = "model/card.html"
END = b"PK\x05\x06"  # of the last 22 bytes of a zip without comment
LARGEST_COMPRESSED = 64 << 20  # bytes of an unpacked part: recipe, source or card
UNREADABLE = (
    *(OSError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError),  # RuntimeError: encrypted
    *(AttributeError, KeyError, TypeError, ValueError, RecursionError),  # JSON of another shape
)


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
        regular_size(path)
        with zipfile.ZipFile(path) as archive:
            _refuse_odd_archive(archive, path)
            manifest = json.loads(archive.read(MANIFEST))
            recipe = json.loads(archive.read(RECIPE))
            sums = {name: hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist()}
        sums.pop(MANIFEST)
        expected = {str(name): str(digest) for name, digest in manifest["sha256"].items()}
        networks = [str(name) for name in manifest["networks"] if name in expected]
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except UNREADABLE as error:
        _refuse_zip_for_nnunet(path)
        raise UserError(
            f"{path}: expected a file that `ser-nnunet export` wrote, and it isn't one or is damaged ({error})"
        ) from error
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
    try:
        return ModelFile(path, {**manifest, "networks": networks}, read_recipe(recipe))
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: its recipe is none of `ser-nnunet export` ({error})") from error


def _refuse_zip_for_nnunet(path: Path) -> None:
    """Raise a `UserError` that says how a zip with nnU-Net's checkpoints is used, if the file is one."""
    try:
        regular_size(path)
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except UNREADABLE:
        return
    if MANIFEST not in names and any(name.endswith(".pth") for name in names):
        raise UserError(
            f"{path} is a zip for nnU-Net, expected a file that `ser-nnunet export` wrote without `--format nnunet`: "
            "install it with nnUNetv2_install_pretrained_model_from_zip and predict with nnUNetv2_predict (its model "
            "card names the options)"
        )


def _refuse_odd_archive(archive: zipfile.ZipFile, path: Path) -> None:
    """Raise `ValueError` for something behind the zip, and for parts that would fill the memory.

    The networks, which are large, are not compressed.
    """
    with path.open("rb") as stream:
        stream.seek(-len(END) - 18, os.SEEK_END)
        if stream.read(len(END)) != END:
            raise ValueError("something follows the zip in it")
    for part in archive.infolist():
        if part.file_size > max(part.compress_size, LARGEST_COMPRESSED):
            raise ValueError(f"{part.filename} would have {part.file_size / 1e6:.0f} MB")


def _state(found: str | None, expected: str | None) -> str | None:
    if found is None or expected is None:
        return "missing" if found is None else "not part of the model"
    return None if found == expected else f"SHA-256 {found[:12]}... found, expected {expected[:12]}..."
