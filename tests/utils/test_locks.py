"""A lock is held by one process at a time, says by whom, and ends with its process."""

import errno
import json
import os
import re
import subprocess
import sys

import pytest

from ser_nnunet.errors import UserError
from ser_nnunet.utils.locks import ExclusiveLock

HOLD = """
import sys
from pathlib import Path
from ser_nnunet.utils.locks import ExclusiveLock
lock = ExclusiveLock(Path(sys.argv[1]), "a conversion")
lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""


def hold(file):
    """Another process that holds the lock until its input ends."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    return process


def test_the_second_process_is_told_who_holds_the_lock_and_since_when(tmp_path):
    other = hold(tmp_path / ".lock")
    try:
        with pytest.raises(UserError) as refused:
            ExclusiveLock(tmp_path / ".lock", "a conversion").acquire()
    finally:
        other.communicate()
    pattern = rf"a conversion is running already \(process {other.pid} of .+ on .+, since \d{{4}}-\d\d-\d\dT.*\)"
    assert re.search(pattern, str(refused.value))


def test_a_lock_ends_with_its_process_even_if_that_is_killed(tmp_path):
    other = hold(tmp_path / ".lock")
    other.kill()
    other.communicate()
    with ExclusiveLock(tmp_path / ".lock", "a conversion"):
        assert (tmp_path / ".lock.json").is_file()
    assert list(tmp_path.iterdir()) == []


def test_the_holder_is_known_and_a_stale_record_with_the_id_of_another_process_is_not_believed(tmp_path):
    lock, innocent = ExclusiveLock(tmp_path / ".lock", "a conversion"), subprocess.Popen(["sleep", "60"])
    assert lock.holding_process() is None
    other = hold(tmp_path / ".lock")
    assert lock.holding_process() == other.pid
    other.kill()
    other.communicate()
    assert lock.holding_process() is None
    try:  # the killed process's id belongs to somebody else now, whom nobody may end
        record = json.loads((tmp_path / ".lock.json").read_text())
        (tmp_path / ".lock.json").write_text(json.dumps(record | {"process": innocent.pid}))
        assert lock.holding_process() is None
    finally:
        innocent.kill()
        innocent.wait()
    with lock:
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_lock_is_held_or_not_whoever_its_record_names(tmp_path):
    lock = ExclusiveLock(tmp_path / ".lock", "a conversion")
    assert lock.is_held() is False and list(tmp_path.iterdir()) == [], "a look leaves no file"
    other = hold(tmp_path / ".lock")
    record = json.loads((tmp_path / ".lock.json").read_text())
    (tmp_path / ".lock.json").write_text(json.dumps(record | {"host": "another"}))
    assert lock.is_held() is True
    other.kill()
    other.communicate()
    assert lock.is_held() is False


@pytest.mark.skipif(os.name == "nt", reason="flock of POSIX")
def test_a_file_system_without_locks_tells_nothing(tmp_path, monkeypatch):
    def no_lock(*arguments):
        raise OSError(errno.ENOLCK, "no locks available")

    lock = ExclusiveLock(tmp_path / ".lock", "a conversion")
    (tmp_path / ".lock").touch()
    monkeypatch.setattr("fcntl.flock", no_lock)
    assert lock.is_held() is None


def test_a_released_lock_can_be_taken_again_and_leaves_no_file(tmp_path):
    for _ in range(2):
        held = ExclusiveLock(tmp_path / ".lock", "a conversion")
        with held, pytest.raises(UserError, match=f"process {os.getpid()} "):
            ExclusiveLock(tmp_path / ".lock", "a conversion").acquire()
        assert list(tmp_path.iterdir()) == []


def test_an_error_within_the_block_releases_the_lock(tmp_path):
    with pytest.raises(ValueError, match="inside"), ExclusiveLock(tmp_path / ".lock", "a conversion"):
        raise ValueError("inside")
    with ExclusiveLock(tmp_path / ".lock", "a conversion"):
        pass
