"""The voxels of NIfTI files as they are stored, those of compressed files with their checksum."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import cast

import nibabel
import numpy as np
from nibabel.arrayproxy import ArrayProxy

from ser_nnunet.utils.nifti_header import find_version, is_compressed
from ser_nnunet.utils.whole_gzip import read_to_end

VERSIONS = {348: nibabel.Nifti1Image, 540: nibabel.Nifti2Image}
"""By the size of the header in bytes."""


def read_voxels(file: Path) -> tuple[np.ndarray, float, float]:
    """Return the stored voxels `(x, y, z, ...)`, and the slope and intercept that scale them.

    A compressed file is read to its end, so that the checksum there is compared.

    Raises:
        OSError, EOFError, ValueError, zlib.error, nibabel's exceptions: it is damaged or no NIfTI file.
    """
    if not is_compressed(file):
        return _get_unscaled(cast(nibabel.Nifti1Image, nibabel.load(file)))
    with gzip.open(file) as stream:
        image_class = VERSIONS[find_version(stream.read(max(VERSIONS)))[0]]
        stream.seek(0)
        voxels = _get_unscaled(image_class.from_stream(stream))
        size = voxels[0].nbytes
        read_to_end(iter(lambda: stream.read(1 << 20), b""), size, found=size)
    return voxels


def _get_unscaled(image: nibabel.Nifti1Image) -> tuple[np.ndarray, float, float]:
    proxy = cast(ArrayProxy, image.dataobj)
    return np.asanyarray(proxy.get_unscaled()), float(proxy.slope), float(proxy.inter)
