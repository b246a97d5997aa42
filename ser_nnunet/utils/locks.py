"""Locks on files: who holds one, and since when; the system releases them when a process ends, however it ends."""

from __future__ import annotations

import errno
import getpass
import os
import socket
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from ser_nnunet.errors import UserError
from ser_nnunet.utils.files import read_json, remove, write_json
from ser_nnunet.utils.processes import is_running

WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""What file systems without locks answer, such as some network file systems: nothing is locked there."""


class ExclusiveLock:
    """A lock that one process holds at a time; beside the lock file, a JSON file says who.

    Both files are removed on release. After a kill they stay, and lock nothing.
    """

    def __init__(self, file: Path, what: str) -> None:
        """Prepare a lock.

        Args:
            file: the lock file, in an existing folder.
            what: is locked, for the message, such as "a conversion to Dataset501".
        """
        self.file, self.what = file, what
        self.holder = file.with_name(f"{file.name}.json")
        self._lock = FileLock(file)

    def acquire(self, seconds: float = 0.2) -> None:
        """Take the lock within some seconds; `holding_process` of another process takes it for a moment.

        Raises:
            UserError: another process holds it; names that process and since when.
            OSError: the files can't be written.
        """
        try:
            self._lock.acquire(timeout=seconds)
        except Timeout:
            raise UserError(f"{self.what} is running already{self.describe_holder()}: wait until it ends") from None
        except (NotImplementedError, OSError) as error:
            if isinstance(error, OSError) and error.errno not in WITHOUT_LOCKS:
                raise  # a file system without locks: the record alone says who is here
        try:
            user = getpass.getuser()
        except (OSError, KeyError, ImportError):  # a user id without a name, as in containers
            user = "an unnamed user"
        since = datetime.now().astimezone().isoformat(timespec="seconds")
        content = {"process": os.getpid(), "host": socket.gethostname(), "user": user, "since": since}
        write_json(self.holder, content)

    def release(self) -> None:
        """Give the lock back; nothing happens where it isn't held."""
        if self._lock.is_locked or self.is_ours():
            remove(self.holder)
            with suppress(OSError):  # Windows keeps open files
                self.file.unlink(missing_ok=True)
            self._lock.release()

    def is_ours(self) -> bool:
        """Return whether the record names this process, as it does also on a file system without locks."""
        try:
            content = read_json(self.holder)
            return bool(content["process"] == os.getpid() and content["host"] == socket.gethostname())
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def __enter__(self) -> ExclusiveLock:
        """Acquire it."""
        self.acquire()
        return self

    def __exit__(self, *exception: object) -> None:
        """Release it."""
        self.release()

    def holding_process(self) -> int | None:
        """Return the id of the process on this machine that holds the lock; None if there is none.

        The JSON file of a process that was killed stays, and another process may have its id now: the lock itself is
        tried.
        """
        try:
            content = read_json(self.holder)
            process, host = int(content["process"]), content["host"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if host != socket.gethostname() or not is_running(process):
            return None
        return None if self.is_held() is False else process

    def is_held(self) -> bool | None:
        """Return whether a process on any machine holds the lock; None where that can't be tried.

        It is tried by taking the lock for a moment. That tells nothing on a file system without locks, or in a folder
        in which nothing may be written.
        """
        if not self.file.exists():
            return None if self.holder.exists() else False
        probe = FileLock(self.file)
        try:
            probe.acquire(timeout=0)
        except Timeout:
            return True
        except (NotImplementedError, OSError):
            return None
        probe.release()
        return False

    def describe_holder(self) -> str:
        """Return who holds the lock, in brackets, as its record says."""
        try:
            content = read_json(self.holder)
            return " (process {process} of {user} on {host}, since {since})".format(**content)
        except (OSError, ValueError, KeyError, TypeError):  # just taken: not written yet
            return f" (see {self.file})"
