"""Files of NumPy arrays (`.npz`) in a received model: do they hold numbers alone? Nothing of them is unpickled."""

from __future__ import annotations

import zipfile
from typing import IO

from numpy.lib import format as npy

ARRAYS_ENDING = ".npz"
ZIP_MAGIC = b"PK\x03\x04"


def refuse_objects(stream: IO[bytes]) -> None:
    """Read the header of every array in a `.npz` file.

    Raises:
        ValueError: an array holds objects, which NumPy would unpickle, or a part is no array.
        OSError, RuntimeError, NotImplementedError, EOFError, zipfile.BadZipFile, zlib.error: it can't be examined.
    """
    if stream.read(len(ZIP_MAGIC)) != ZIP_MAGIC:
        raise ValueError("it does not begin as a zip of arrays does")
    stream.seek(0)
    with zipfile.ZipFile(stream) as archive:
        for name in archive.namelist():
            with archive.open(name) as part:
                version = npy.read_magic(part)
                read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
                if read is None:
                    raise ValueError(f"{name} is an array in an unknown format")
                if read(part)[2].hasobject:
                    raise ValueError(f"{name} holds objects, which are unpickled when it is loaded")
