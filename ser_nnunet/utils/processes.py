"""One task per case in several processes, with a progress bar and a bound on memory."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from threading import Thread
from typing import TypeVar

from tqdm import tqdm

from ser_nnunet.errors import UserError
from ser_nnunet.utils.memory import available_memory
from ser_nnunet.utils.variables import is_quiet

Item = TypeVar("Item")
Result = TypeVar("Result")


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def fitting_processes(bytes_per_process: int) -> int:
    """Return how many processes fit: one per usable core, as far as free memory goes, and at least one.

    Free memory is the machine's, or its container's or job's where that is less.
    """
    free = available_memory()
    return usable_cores() if free is None else max(1, min(usable_cores(), free // bytes_per_process))


def is_running(process: int) -> bool:
    """Return whether a process with this id exists on this machine; always True on Windows, where it can't be tested.

    The test is to send signal 0, which on Windows would be Ctrl-C.
    """
    if os.name == "nt":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True


def map_in_processes(
    task: Callable[[Item], Result],
    items: Sequence[Item],
    processes: int,
    label: str,
    *,
    prepare_worker: Callable[[], None] | None = None,
    preload: Iterable[str] = (),
    progress: bool = True,
) -> list[Result]:
    """Return `task(item)` for each item, in their order; the first exception ends it once running tasks are done.

    With one process (or one item) everything happens in the caller's. Processes are never forked from the caller's:
    SimpleITK and torch have threads, which forking does not copy.

    Args:
        task: can be pickled, as can its items and results.
        items: usually the cases of a data set.
        processes: how many at most.
        label: what is done, for the progress bar and errors.
        prepare_worker: called once in every new process, to limit its threads.
        preload: modules that all processes share where the system can (a fork server); slow imports happen once.
        progress: whether to show the progress bar.

    Raises:
        UserError: a process was killed.
    """
    workers = min(processes, len(items))
    with tqdm(total=len(items), desc=label, unit="case", disable=not progress or is_quiet()) as bar:
        if workers <= 1:
            results = []
            for item in items:
                results.append(task(item))
                bar.update()
            return results
        has_fork_server = "forkserver" in multiprocessing.get_all_start_methods()
        context = multiprocessing.get_context("forkserver" if has_fork_server else "spawn")
        if has_fork_server:
            context.set_forkserver_preload(list(preload))
        others = set(multiprocessing.active_children())
        pool = ProcessPoolExecutor(workers, context, initializer=_start_worker, initargs=(prepare_worker,))
        try:
            futures = [pool.submit(task, item) for item in items]
            for future in as_completed(futures):
                future.result()
                bar.update()
        except BrokenProcessPool:
            raise UserError(
                f"{label}: a process was killed, most likely because memory ran out; use fewer processes (-np 1)"
            ) from None
        except (KeyboardInterrupt, SystemExit):  # the results are not wanted: don't wait for the running tasks
            for worker in set(multiprocessing.active_children()) - others:
                worker.kill()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    return [future.result() for future in futures]


def _start_worker(prepare: Callable[[], None] | None) -> None:
    """Leave Ctrl-C to the parent, which cleans up, and end with the parent, even if that is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()
    if prepare is not None:
        prepare()


def _end_with_parent() -> None:
    """Wait for the parent's end: a worker waits for tasks from a queue that it holds open itself, for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
