"""A data set is written completely or not at all, and from the files that were checked."""

from __future__ import annotations

from pathlib import Path

import pytest

from ser_nnunet.dataset_conversion.core import writer
from ser_nnunet.errors import UserError
from tests.dataset_conversion.builders import SampleDataset, multisite_prostate, promise12
from tests.dataset_conversion.helpers import convert_sample


@pytest.fixture
def sample(tmp_path: Path) -> SampleDataset:
    return promise12(tmp_path / "source")


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return tmp_path / "raw"


@pytest.mark.parametrize(("error", "raised"), [(KeyboardInterrupt, KeyboardInterrupt), (OSError, UserError)])
def test_a_failure_while_writing_leaves_nothing_behind(
    sample: SampleDataset, raw: Path, monkeypatch, error: type, raised: type
):
    write_case, calls = writer.write_case, []

    def failing(item):
        calls.append(item)
        if len(calls) == 3:
            raise error
        return write_case(item)

    monkeypatch.setattr(writer, "write_case", failing)
    with pytest.raises(raised):
        convert_sample(sample, raw)
    assert len(calls) == 3 and not raw.exists()


def test_a_file_that_changes_after_its_check_is_not_copied(tmp_path: Path, raw: Path, monkeypatch):
    sample = multisite_prostate(tmp_path / "prostate")
    write_case = writer.write_case

    def late_change(item):
        path = sample.files[item.case.name, "T2"]
        path.write_bytes(path.read_bytes() + b"\0")
        return write_case(item)

    monkeypatch.setattr(writer, "write_case", late_change)
    with pytest.raises(UserError, match=r"Case00\.nii\.gz has changed since it was checked"):
        convert_sample(sample, raw)
    assert not raw.exists()


def test_a_file_that_changes_after_its_check_is_not_rewritten_either(sample: SampleDataset, raw: Path, monkeypatch):
    write_case = writer.write_case

    def late_change(item):
        sample.change("Train_Case02", "T2", lambda array: array + 1)
        return write_case(item)

    monkeypatch.setattr(writer, "write_case", late_change)
    with pytest.raises(UserError, match=r"Case02\.mhd has changed since it was checked"):
        convert_sample(sample, raw)
    assert not raw.exists()


def test_a_disk_without_room_for_the_copies_is_refused_before_writing(tmp_path: Path, raw: Path, monkeypatch):
    sample = multisite_prostate(tmp_path / "prostate")
    full = writer.shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(writer.shutil, "disk_usage", lambda folder: full)
    with pytest.raises(UserError, match=r"has 0\.0 GiB left, the images need"):
        convert_sample(sample, raw)
    assert not raw.exists()
