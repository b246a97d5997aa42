"""The files that `export` writes, and whether those that exist are an earlier export's or somebody else's."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

from ser_nnunet.runtime.model_file import LARGEST_COMPRESSED, MANIFEST, UNREADABLE
from ser_nnunet.utils.output_checks import refuse_foreign_files

CARD = "model_card.html"
"""The card's name in the model's folder, in a zip for nnU-Net."""
CARD_MARK = b'<meta name="generator" content="ser-nnunet model card">'
"""In the first `CARD_BEGINNING` bytes of every model card."""
CARD_BEGINNING = 1000
ADVICE = "Move it, or choose another name with -o"


def find_card_file(target: Path) -> Path:
    """Return the file of the model card beside a model file: `lesions.html` for `lesions.pyz`; nothing is written.

    Raises:
        UserError: one of the two can't be written, or exists and no export has written it; names both.
    """
    stem = target.stem if target.suffix.lower() in (".pyz", ".zip") else target.name
    card_file = target.with_name(f"{stem}.html")
    outputs = [
        (file, is_own, f"{file}, where the {what} would be written, is another file: nothing was changed. {ADVICE}")
        for file, is_own, what in ((target, is_export, "model"), (card_file, is_card, "model card"))
    ]
    refuse_foreign_files(outputs)
    return card_file


def is_export(file: Path) -> bool:
    """Return whether a file is an exported model, with a manifest, or in nnU-Net's format with a model card."""
    if not file.is_file():
        return False
    try:
        with zipfile.ZipFile(file) as archive:
            if MANIFEST in archive.namelist():
                if archive.getinfo(MANIFEST).file_size > LARGEST_COMPRESSED:
                    return False
                return bool(json.loads(archive.read(MANIFEST)).keys() >= {"format", "networks", "sha256"})
            cards = [name for name in archive.namelist() if name.endswith(f"/{CARD}")]
            return any(CARD_MARK in archive.open(name).read(CARD_BEGINNING) for name in cards)
    except UNREADABLE:
        return False


def is_card(file: Path) -> bool:
    """Return whether a file is a model card."""
    if not file.is_file():
        return False
    with file.open("rb") as stream:
        return CARD_MARK in stream.read(CARD_BEGINNING)
