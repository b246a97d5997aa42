"""Hashes of files and voxels: equal where the content is, whatever it is stored as."""

from pathlib import Path

import numpy as np
import pytest

from ser_nnunet.utils.hashing import BLOCK, copy_with_sha256, file_sha256, voxel_hash

ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
"""SHA-256 of `abc` (FIPS 180-2, appendix B.1)."""
VOXELS = np.arange(24).reshape(2, 3, 4)


def test_a_files_hash_is_the_standards(tmp_path: Path):
    (tmp_path / "abc.txt").write_bytes(b"abc")
    assert file_sha256(tmp_path / "abc.txt") == file_sha256(str(tmp_path / "abc.txt")) == ABC


def test_a_copy_holds_all_blocks_and_has_the_sources_hash(tmp_path: Path):
    content = np.random.default_rng(0).bytes(2 * BLOCK + 5)
    (tmp_path / "source").write_bytes(content)
    assert copy_with_sha256(tmp_path / "source", tmp_path / "target") == file_sha256(tmp_path / "source")
    assert (tmp_path / "target").read_bytes() == content


@pytest.mark.parametrize("dtype", [np.uint8, ">i2", np.float32, np.float64])
def test_a_voxel_hash_does_not_depend_on_the_number_type(dtype: type):
    assert voxel_hash(VOXELS.astype(dtype)) == voxel_hash(VOXELS)


def test_a_voxel_hash_does_not_depend_on_the_memory_layout():
    assert voxel_hash(np.asfortranarray(VOXELS)) == voxel_hash(VOXELS)


@pytest.mark.parametrize("other", [VOXELS.reshape(4, 3, 2), VOXELS[::-1], VOXELS + (VOXELS == 23)])
def test_a_voxel_hash_depends_on_shape_order_and_every_voxel(other: np.ndarray):
    assert voxel_hash(other) != voxel_hash(VOXELS)
