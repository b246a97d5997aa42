"""The data set's folder appears complete or not at all, and nothing of the user's is lost."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ser_nnunet.dataset_conversion import ConversionError, convert
from ser_nnunet.dataset_conversion.core import pipeline as conversion

from ser_nnunet.commands import convert as command
from ser_nnunet.errors import UserError
from tests.dataset_conversion.builders import LABEL, Toy, multisite_prostate, promise12
from tests.dataset_conversion.test_clean import tree_hash
from tests.dataset_conversion.volumes import image_of


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return promise12(tmp_path / "source")


@pytest.fixture
def raw(tmp_path: Path, monkeypatch) -> Path:
    for name in ("preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{name}", str(tmp_path / name))
    return tmp_path / "raw"


def converted(toy: Toy, raw: Path, **options):
    return convert(toy.source, 706, dataset=toy.dataset, raw=raw, processes=1, **{**toy.options, **options})


def test_an_existing_data_set_is_refused(toy: Toy, raw: Path):
    folder = converted(toy, raw).folder
    before = tree_hash(folder)
    with pytest.raises(UserError, match=r"Dataset706_PROMISE12 exists: .* --overwrite"):
        converted(toy, raw)
    assert tree_hash(folder) == before


@pytest.mark.parametrize("place", ["raw", "preprocessed", "results"])
def test_an_id_under_another_name_is_refused_even_with_overwrite(toy: Toy, raw: Path, place: str):
    taken = raw.parent / place / "Dataset706_Mine"
    taken.mkdir(parents=True)
    with pytest.raises(UserError, match=f"nnUNet_{place}/Dataset706_Mine"):
        converted(toy, raw, overwrite=True)
    assert taken.is_dir()


def test_overwrite_replaces_and_leaves_no_trace_of_the_old(toy: Toy, raw: Path):
    (raw / "Dataset706_PROMISE12").mkdir(parents=True)
    (raw / "Dataset706_PROMISE12" / "old.txt").write_text("old")
    folder = converted(toy, raw, overwrite=True).folder
    assert [path.name for path in raw.iterdir()] == [folder.name] and not (folder / "old.txt").exists()


def test_overwrite_keeps_the_old_one_if_the_new_one_fails(toy: Toy, raw: Path):
    before = tree_hash(converted(toy, raw).folder)
    toy.change("Train_Case00", LABEL, lambda array: array * 0)
    with pytest.raises(ConversionError):
        converted(toy, raw, overwrite=True)
    assert tree_hash(raw / "Dataset706_PROMISE12") == before and len(list(raw.iterdir())) == 1


@pytest.mark.parametrize(("error", "told"), [(KeyboardInterrupt, KeyboardInterrupt), (OSError, UserError)])
def test_a_failure_while_writing_leaves_nothing_behind(toy: Toy, raw: Path, monkeypatch, error: type, told: type):
    write_case, calls = conversion.write_case, []

    def failing(job):
        calls.append(job)
        if len(calls) == 3:
            raise error
        return write_case(job)

    monkeypatch.setattr(conversion, "write_case", failing)
    with pytest.raises(told):
        converted(toy, raw)
    assert len(calls) == 3 and not raw.exists()


def test_a_file_that_changes_after_its_check_is_not_copied(tmp_path: Path, raw: Path, monkeypatch):
    toy = multisite_prostate(tmp_path / "prostate")
    write_case = conversion.write_case

    def late_change(job):
        path = toy.files[job.case.name, "T2"]
        path.write_bytes(path.read_bytes() + b"\0")
        return write_case(job)

    monkeypatch.setattr(conversion, "write_case", late_change)
    with pytest.raises(UserError, match=r"Case00\.nii\.gz has changed since it was checked"):
        converted(toy, raw)
    assert not raw.exists()


def test_a_file_that_changes_after_its_check_is_not_rewritten_either(toy: Toy, raw: Path, monkeypatch):
    write_case = conversion.write_case

    def late_change(job):
        toy.change("Train_Case02", "T2", lambda array: array + 1)
        return write_case(job)

    monkeypatch.setattr(conversion, "write_case", late_change)
    with pytest.raises(UserError, match=r"Case02\.mhd has changed since it was checked"):
        converted(toy, raw)
    assert not raw.exists()


def test_remains_of_a_killed_run_are_swept_away(toy: Toy, raw: Path):
    dead = subprocess.Popen(["true"])
    dead.wait()
    remains = raw / f".Dataset706_PROMISE12.converting-{socket.gethostname()}-{dead.pid}"
    remains.mkdir(parents=True)
    folder = converted(toy, raw).folder
    assert [path.name for path in raw.iterdir()] == [folder.name]


@pytest.mark.parametrize("after", [1, 2])
def test_an_interrupt_between_the_renames_loses_no_data_set(toy: Toy, raw: Path, monkeypatch, after: int):
    """After the first rename the old data set is set aside, after the second the new one is in its place."""
    old = raw / "Dataset706_PROMISE12" / "old.txt"
    old.parent.mkdir(parents=True)
    old.write_text("old")
    rename, calls = Path.rename, []

    def interrupted(path: Path, target: Path) -> Path:
        moved = rename(path, target)
        calls.append(target)
        if len(calls) == after:
            raise KeyboardInterrupt
        return moved

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        converted(toy, raw, overwrite=True)
    assert [path.name for path in raw.iterdir()] == ["Dataset706_PROMISE12"]
    assert old.exists() == (after == 1) and (old.parent / "dataset.json").exists() == (after == 2)


def test_an_old_data_set_set_aside_by_a_killed_run_goes_once_another_stands_in_its_place(toy: Toy, raw: Path):
    dead = subprocess.Popen(["true"])
    dead.wait()
    aside = raw / f".Dataset706_PROMISE12.converting-{socket.gethostname()}-{dead.pid}-old"
    aside.mkdir(parents=True)
    converted(toy, raw)
    assert aside.exists(), "it was the only one when the run began"
    folder = converted(toy, raw, overwrite=True).folder
    assert [path.name for path in raw.iterdir()] == [folder.name]


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no SIGHUP")
def test_a_closed_terminal_is_an_interrupt_unless_nohup_says_otherwise():
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests themselves may run under nohup
        assert command._catch_signals().keys() == before.keys()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGHUP)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        assert signal.SIGHUP not in command._catch_signals()
        signal.raise_signal(signal.SIGHUP)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.mark.parametrize("name", ["two words", "a__b", "_x", "../up", ""])
def test_names_that_nnunet_cannot_take_apart_are_refused(toy: Toy, raw: Path, name: str):
    with pytest.raises(UserError, match="choose another --name"):
        converted(toy, raw, name=name)


@pytest.mark.parametrize("dataset_id", [0, 1000, -1])
def test_ids_outside_nnunets_range_are_refused(toy: Toy, raw: Path, dataset_id: int):
    with pytest.raises(UserError, match="1 to 999"):
        convert(toy.source, dataset_id, dataset=toy.dataset, raw=raw)


def test_an_earlier_preprocessed_folder_is_pointed_out(toy: Toy, raw: Path):
    (raw.parent / "preprocessed" / "Dataset706_PROMISE12").mkdir(parents=True)
    assert "delete it before planning" in str(converted(toy, raw).notes)


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_command_cleans_up(tmp_path: Path, sent: int):
    toy = promise12(tmp_path / "source")
    for case in toy.cases:
        for role in ("T2", LABEL):
            toy.truth[case, role] = image_of(big(toy, case, role))
            toy.change(case, role, lambda array: array)
    command = [
        Path(sys.executable).with_name("ser-nnunet"),
        "convert",
        "promise12",
        toy.source,
        "-d",
        "706",
        "-np",
        "2",
    ]
    environment = {**os.environ, "nnUNet_raw": str(tmp_path / "raw")}
    process = subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, text=True, preexec_fn=listen_to_interrupts
    )
    while process.poll() is None and not list(tmp_path.glob("raw/.Dataset706*/imagesTr/*")):
        time.sleep(0.02)
    process.send_signal(sent)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130 and "nothing was left behind" in errors
    assert not (tmp_path / "raw").exists()


def listen_to_interrupts() -> None:
    """Undo what a shell sets for background jobs, whose children would ignore SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def big(toy: Toy, case: str, role: str):
    """Volumes that take long enough to write for a signal to arrive meanwhile."""
    import numpy as np

    rng = np.random.default_rng(toy.cases.index(case))
    array = rng.integers(0, 2 if role == LABEL else 900, (50, 150, 150))
    return array.astype(np.int16)
