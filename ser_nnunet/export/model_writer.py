"""Writing the model file: a Python zip application with recipe, networks, card, manifest and the runtime's source."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import ser_nnunet
from ser_nnunet.runtime.model_file import CARD, MANIFEST, RECIPE
from ser_nnunet.runtime.recipe import FORMAT, Recipe
from ser_nnunet.utils.files import replacing

READING = (
    "__init__",
    "dicom_elements",
    "dicom_slices",
    "faults",
    "image_files",
    "memory",
    "metaimage",
    "nifti_header",
    "printable",
    "regular_files",
    "whole_gzip",
)
SOURCES = (
    *(
        "__init__.py",
        "errors.py",
        "runtime/*.py",
        "commands/__init__.py",
        "commands/number_types.py",
        "commands/predict.py",
    ),
    *(f"utils/{name}.py" for name in READING),
)
"""The package's files that a model file brings along: what predicts, what checks images before they are read, and the
messages on faults."""

MAIN = '''"""python MODEL.pyz -i IMAGES -o MASKS"""

import sys

if sys.version_info < (3, 10):
    sys.exit("Python 3.10 or newer expected, this is " + sys.version.split()[0])

from ser_nnunet.commands.predict import run_model_file

sys.exit(run_model_file(sys.argv[0], sys.argv[1:]))
'''
WEIGHTS = (".onnx", ".pth")
STAMP = (1980, 1, 1, 0, 0, 0)  # of every part: the same model gives the same bytes


def runtime_sources() -> dict[str, bytes]:
    """Return the parts of a model file that predict: names in the archive, and contents."""
    package = Path(ser_nnunet.__file__).parent
    files = sorted(file for pattern in SOURCES for file in package.glob(pattern))
    parts = {f"ser_nnunet/{file.relative_to(package).as_posix()}": file.read_bytes() for file in files}
    return {"__main__.py": MAIN.encode(), **parts}


def write_model_file(target: Path, card_file: Path, recipe: Recipe, networks: Mapping[str, bytes], card: bytes) -> Path:
    """Write a model file and its model card, completely or not at all.

    Args:
        target: any name; `.pyz` is usual for Python zip applications.
        card_file: of `find_card_file`.
        recipe: see `Recipe`.
        networks: the ensemble's ONNX files by name (such as `fold_0`), in the order in which they are averaged.
        card: the page, with `output_files.CARD_MARK`.
    """
    content = json.dumps(dataclasses.asdict(recipe), indent=1, ensure_ascii=False).encode()
    models = {f"model/{name}.onnx": onnx for name, onnx in networks.items()}
    parts = {**runtime_sources(), RECIPE: content, CARD: card, **models}
    manifest = {
        "format": FORMAT,
        "networks": list(models),
        "runtime": {"version": ser_nnunet.__version__, "licence": "Apache-2.0"},
        "sha256": {name: hashlib.sha256(part).hexdigest() for name, part in parts.items()},
    }
    parts[MANIFEST] = json.dumps(manifest, indent=1).encode()
    with replacing(card_file) as page, replacing(target) as unfinished:
        page.write_bytes(card)
        with unfinished.open("wb") as stream:
            stream.write(b"#!/usr/bin/env python3\n")  # as `python -m zipapp` does, so that it can be executed
            write_parts(stream, parts)
        unfinished.chmod(0o755)
    return target


def write_parts(stream: IO[bytes], parts: Mapping[str, bytes]) -> None:
    """Write a zip: names in the archive and contents; the same parts give the same bytes."""
    with zipfile.ZipFile(stream, "w") as archive:
        for name, part in parts.items():
            entry = zipfile.ZipInfo(name, STAMP)
            # Weights shrink by a few per cent, and large ones would take seconds to unpack.
            entry.compress_type = zipfile.ZIP_STORED if name.endswith(WEIGHTS) else zipfile.ZIP_DEFLATED
            archive.writestr(entry, part)
