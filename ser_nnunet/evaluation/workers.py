"""Cases spread over worker processes, with a progress bar and a bound on memory."""

from __future__ import annotations

import functools
import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from tqdm import tqdm

from ser_nnunet.errors import UserError
from ser_nnunet.evaluation.case import CaseResult, check_labels, evaluate_case
from ser_nnunet.evaluation.labels import Labels
from ser_nnunet.evaluation.pairing import Case
from ser_nnunet.evaluation.settings import Settings
from ser_nnunet.utils.memory import available_memory

# Measured peaks per voxel of an image that its masks fill; surfaces make them large. Smaller masks need far less.
BYTES_PER_VOXEL = {"surface": 160, "lesions": 24, "overlap": 8}
BYTES_PER_WORKER = 400 * 2**20  # what a worker doesn't share with the others of torch and MONAI


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def worker_count(asked: int | None, cases: int, largest: int, settings: Settings) -> int:
    """Return how many processes to use.

    Args:
        asked: by the user; None means every core that the process may use, as far as memory allows.
        cases: a process without a case is idle.
        largest: number of voxels of the largest case.
        settings: says which metrics, which need more or less memory.
    """
    if asked is not None:
        return max(1, min(asked, cases))
    cores, free = usable_cores(), available_memory()
    if free is None:
        return max(1, min(cores, cases))
    per_voxel = max(BYTES_PER_VOXEL[group] for group in ("overlap", *settings.groups))
    return max(1, min(cores, cases, free // (largest * per_voxel + BYTES_PER_WORKER)))


def evaluate_cases(
    cases: Sequence[Case], labels: Labels, settings: Settings, processes: int, progress: bool = True
) -> list[CaseResult]:
    """Evaluate all cases and return their results in the same order; with one process, in this one."""
    task = functools.partial(evaluate_case, labels=labels, settings=settings)
    return _for_each(task, cases, processes, _context(settings), "evaluating", progress)


def check_cases(
    cases: Sequence[Case], labels: Labels, skip: frozenset[Path], processes: int, progress: bool = True
) -> list[str]:
    """Return what is wrong with the voxels of all files but those to skip, without evaluating any."""
    task = functools.partial(check_labels, labels=labels, skip=skip)
    results = _for_each(task, cases, processes, _context(), "looking for more problems", progress)
    return [problem for result in results for problem in result.problems]


def _for_each(
    task: Callable[[Case], CaseResult],
    cases: Sequence[Case],
    processes: int,
    context: multiprocessing.context.BaseContext,
    label: str,
    progress: bool,
) -> list[CaseResult]:
    with tqdm(total=len(cases), desc=f"{label}, {processes} at once", unit="case", disable=not progress) as bar:
        if processes == 1:
            results = []
            for case in cases:
                results.append(task(case))
                bar.update()
            return results
        with ProcessPoolExecutor(processes, mp_context=context, initializer=_one_thread) as pool:
            futures = [pool.submit(task, case) for case in cases]
            try:
                for future in as_completed(futures):
                    future.result()
                    bar.update()
            except BrokenProcessPool as error:
                raise UserError(
                    "a worker process was killed, most likely because memory ran out; take fewer: -np 1"
                ) from error
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    return [future.result() for future in futures]


def _context(settings: Settings | None = None) -> multiprocessing.context.BaseContext:
    """A fork server imports torch once for all workers; where there is none (Windows), every worker does."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    surface = ["ser_nnunet.evaluation.surface", "monai.metrics"] if settings and "surface" in settings.groups else []
    context.set_forkserver_preload(["ser_nnunet.evaluation.case", *surface])
    return context


def _one_thread() -> None:
    """Processes share the cores already; torch's threads on top would only get in each other's way."""
    import torch

    torch.set_num_threads(1)
