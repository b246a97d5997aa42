"""`python -m tests.fuzz_readers [SECONDS [SEED]]`: every reader on mutated files; prints undeclared exceptions.

A finding is printed with its reader and seed, and the mutated file is kept in the folder that is named then.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import pickle
import sys
import tempfile
import time
import traceback
import zipfile
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import SimpleITK as sitk
import torch

from ser_nnunet.dataset_conversion.core.data_classes import Volume
from ser_nnunet.dataset_conversion.core.decathlon_json import DecathlonJson
from ser_nnunet.dataset_conversion.core.readers import ReadingError, read_volume
from ser_nnunet.dataset_conversion.mslesseg import read_lesion_volumes
from ser_nnunet.errors import UserError
from ser_nnunet.evaluation.labels import read_labels
from ser_nnunet.evaluation.patients import read_groups
from ser_nnunet.runtime.model_file import open_model
from ser_nnunet.sam.checkpoint import inspect_checkpoint
from ser_nnunet.sam.dummy_sam import build_dummy_sam
from ser_nnunet.utils.geometry import Grid
from ser_nnunet.utils.json_files import read_validated
from ser_nnunet.utils.pickle_contents import imported_names
from tests.dataset_conversion.volumes import image_of, save_series, scalar_image
from tests.runtime.toy import plan, recipe

VOXELS = np.random.default_rng(0).integers(0, 3, (5, 6, 7)).astype(np.int16)


class Reader(NamedTuple):
    """A reader, a good file for it, and the exceptions that it declares."""

    read: Callable[[Path], object]
    name: str
    good: bytes
    declared: tuple[type[Exception], ...]
    pack: Callable[[bytes], bytes] = bytes
    """Makes the file of the mutated content: were the file mutated, its checksums would refuse everything."""


def image_bytes(name: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / name
        sitk.WriteImage(sitk.GetImageFromArray(VOXELS), str(file))
        return file.read_bytes()


def slice_bytes() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        save_series(image_of(scalar_image(0, "int16")), Path(folder) / "series")
        return sorted((Path(folder) / "series").iterdir())[0].read_bytes()


def pack_gzip(content: bytes) -> bytes:
    return gzip.compress(content, 1)


def pack_model(recipe: bytes) -> bytes:
    """Return an exported model with this recipe, and a manifest that fits."""
    parts = {"model/recipe.json": recipe, "model/fold_0.onnx": b"no network"}
    sums = {name: hashlib.sha256(part).hexdigest() for name, part in parts.items()}
    manifest = json.dumps({"format": 1, "networks": ["model/fold_0.onnx"], "sha256": sums}).encode()
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, part in {**parts, "model/manifest.json": manifest}.items():
            archive.writestr(name, part)
    return file.getvalue()


@cache
def sam_parts() -> dict[str, bytes]:
    """Return the parts of a small SAM's checkpoint, a zip of torch's."""
    file = BytesIO()
    torch.save(build_dummy_sam(image_size=64).state_dict(), file)
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack_checkpoint(instructions: bytes) -> bytes:
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, part in sam_parts().items():
            archive.writestr(name, instructions if name.endswith("data.pkl") else part)
    return file.getvalue()


def read_series(file: Path) -> object:
    return read_volume(Volume(file.parent))


DATASET = json.dumps({"labels": {"background": 0, "a": [1, 2], "b": 2}, "file_ending": ".nii.gz"}).encode()
TASK = json.dumps({"modality": {"0": "T2"}, "labels": {"0": "background", "1": "a"}, "numTraining": 3}).encode()
TABLE = b"Patient;Timepoint;Lesion Volume;\nP1;T1;12,5;\nP2;T1;7;\n"
RECIPE = json.dumps(asdict(recipe(plan()))).encode()
INSTRUCTIONS = next(part for name, part in sam_parts().items() if name.endswith("data.pkl"))
PICKLE = pickle.dumps({"a": [1.5, "x", np.float32(2)], "b": {"c": (1, 2)}}, 2)

NUMBERS = (b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\0\0\xc0\x7f", b"\xff\xff\xff\xff")  # limits, NaN, -1

READERS = [
    Reader(Grid.read, "a.nii", image_bytes("a.nii"), (RuntimeError,)),
    Reader(Grid.read, "a.nii.gz", image_bytes("a.nii"), (RuntimeError,), pack_gzip),
    Reader(Grid.read, "a.mha", image_bytes("a.mha"), (RuntimeError,)),
    Reader(lambda file: read_volume(Volume(file)), "b.nii", image_bytes("a.nii"), (ReadingError,)),
    Reader(lambda file: read_volume(Volume(file)), "b.nii.gz", image_bytes("a.nii"), (ReadingError,), pack_gzip),
    Reader(lambda file: read_volume(Volume(file)), "b.mha", image_bytes("a.mha"), (ReadingError,)),
    Reader(read_series, "series/1.dcm", slice_bytes(), (ReadingError,)),
    Reader(read_labels, "dataset.json", DATASET, (UserError,)),
    Reader(lambda file: read_validated(file, DecathlonJson, "a task"), "task.json", TASK, (UserError,)),
    Reader(lambda file: read_lesion_volumes(file, file.name), "table.csv", TABLE, (UserError,)),
    Reader(read_groups, "groups.csv", b"case,patient\na,P1\nb,P1\n", ()),
    Reader(open_model, "model.pyz", pack_model(RECIPE), (UserError,)),
    Reader(open_model, "recipe.pyz", RECIPE, (UserError,), pack_model),
    Reader(inspect_checkpoint, "sam.pth", INSTRUCTIONS, (UserError,), pack_checkpoint),
    Reader(lambda file: list(imported_names(BytesIO(file.read_bytes()))), "a.pkl", PICKLE, (ValueError,)),
]


def mutate(content: bytes, generator: np.random.Generator) -> bytes:
    """Change one to eight places: a bit, a byte, a number of four bytes, a piece cut, doubled or moved."""
    changed = bytearray(content)
    for _ in range(generator.integers(1, 9)):
        place = int(generator.integers(0, max(1, min(len(changed), 700))))  # headers are at the beginning
        kind = int(generator.integers(0, 6))
        if kind == 0 and changed:
            changed[place % len(changed)] ^= 1 << int(generator.integers(0, 8))
        elif kind == 1 and changed:
            changed[place % len(changed)] = int(generator.choice([0, 1, 0x7F, 0x80, 0xFF, 0x2D, 0x22]))
        elif kind == 2:
            changed[place : place + 4] = NUMBERS[int(generator.integers(0, len(NUMBERS)))]
        elif kind == 3:
            del changed[place : place + int(generator.integers(1, 40))]
        elif kind == 4:
            changed[place:place] = changed[place : place + int(generator.integers(1, 40))]
        else:
            changed[place : place + 8] = generator.bytes(8)
    return bytes(changed)


def try_reader(reader: Reader, seed: int, folder: Path) -> str:
    """Read a mutated file; return the traceback of an exception that the reader doesn't declare, or nothing."""
    file = folder / reader.name
    file.parent.mkdir(exist_ok=True)
    content = mutate(reader.good, np.random.default_rng(seed))
    file.write_bytes(reader.pack(content))
    try:
        reader.read(file)
    except reader.declared:
        return ""
    except Exception:
        return traceback.format_exc()
    return ""


def main(seconds: float, seed: int) -> None:
    folder = Path(tempfile.mkdtemp())
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    end, count, found = time.monotonic() + seconds, 0, 0
    while time.monotonic() < end:
        for reader in READERS:
            problem = try_reader(reader, seed + count, folder)
            if problem:
                found += 1
                kept = folder / f"found_{found}_{Path(reader.name).name}"
                kept.write_bytes((folder / reader.name).read_bytes())
                print(f"{reader.name}, seed {seed + count}, {kept}\n{problem}", flush=True)
        count += 1
    print(f"{count} mutations of {len(READERS)} readers, seeds {seed} to {seed + count - 1}: {found} findings")


if __name__ == "__main__":
    main(*(float(word) for word in sys.argv[1:2] or ["60"]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
