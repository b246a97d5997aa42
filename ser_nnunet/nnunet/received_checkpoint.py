"""What a checkpoint, or another pickle, would import if it were loaded, found out without loading it."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from io import BytesIO
from typing import IO

from ser_nnunet.utils.pickle_contents import imported_names

CHECKPOINT_ENDINGS = (".pth", ".pt")
PICKLE_ENDINGS = (*CHECKPOINT_ENDINGS, ".pkl", ".pickle")
ZIP_MAGIC = b"PK\x03\x04"
LARGEST_PICKLE = 64 << 20  # bytes of a checkpoint's instructions, without the tensors


def imports_of(stream: IO[bytes], name: str) -> set[str]:
    """Return what a file imports if torch (`.pth`, `.pt`) or pickle loads it.

    Raises:
        OSError, ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile: it can't be examined.
    """
    if not name.lower().endswith(CHECKPOINT_ENDINGS):
        return set(imported_names(BytesIO(stream.read(LARGEST_PICKLE))))
    return _imports_of_checkpoint(stream)


def _imports_of_checkpoint(stream: IO[bytes]) -> set[str]:
    """Return what torch's format, a zip, imports.

    torch and Python find the files of a zip in different ways, and torch ignores the case of their names. So the bytes
    are those that torch's own reader, which runs nothing, gives to the unpickler.

    Raises:
        ValueError: it is another format. torch takes a file that doesn't begin as a zip for its older format and
            unpickles the beginning, even if a harmless zip follows.
    """
    import torch  # slow

    if stream.read(len(ZIP_MAGIC)) != ZIP_MAGIC:
        raise ValueError("it does not begin as a checkpoint in torch's format does")
    stream.seek(0)
    with zipfile.ZipFile(stream) as archive:
        listed = [(member.filename.partition("/")[2], member.file_size) for member in archive.infolist()]
    stream.seek(0)
    reader = torch._C.PyTorchFileReader(stream)
    names = reader.get_all_records()
    _refuse_two_contents(names, [name for name, _ in listed])
    lowered = [name.lower() for name in names]
    if "constants.pkl" in lowered or any(name.startswith("code/") for name in lowered):
        raise ValueError("it is TorchScript, which holds code")
    pickles = [name for name in names if name.lower().endswith((".pkl", ".pickle"))]
    if "data.pkl" not in names or any(dict(listed)[name] > LARGEST_PICKLE for name in pickles):
        raise ValueError("no checkpoint in torch's format, or one with giant instructions")
    return {found for name in pickles for found in imported_names(BytesIO(reader.get_record(name)))}


def _refuse_two_contents(names: Sequence[str], listed: Sequence[str]) -> None:
    """Refuse a zip in which torch and Python find different files, or that has files of one name.

    Args:
        names: what torch finds, without the folder that all of them are in.
        listed: what Python finds, likewise.
    """
    if sorted(names) != sorted(listed):
        raise ValueError("it is a zip with two lists of files, of which torch reads another one than Python")
    if len({name.lower() for name in names}) < len(names):
        raise ValueError("it holds several files of one name, which torch takes for one another")
