"""Device and threads as nnU-Net sets them."""

from __future__ import annotations

import os

from ser_nnunet.utils.processes import usable_cores


def choose_device() -> str:
    """Return `cuda` where there is a GPU, else `cpu`."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def count_training_threads(device: str) -> int:
    """Return the threads of a training: one beside a GPU, as in nnU-Net; on the CPU OMP_NUM_THREADS or all cores."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return count_threads(device, int(given) if given.isdigit() and device == "cpu" else None)


def count_threads(device: str, given: int | None = None) -> int:
    """Return the threads asked for; where None are, one beside a GPU, as in nnU-Net, and all cores on the CPU."""
    return given or (usable_cores() if device == "cpu" else 1)


def use_device(device: str, threads: int) -> None:
    """Set what nnUNetv2_train sets in its process: the threads, and cudnn's benchmark mode on a GPU."""
    import torch

    torch.set_num_threads(threads)
    if device == "cuda":
        torch.backends.cudnn.deterministic = False
        torch.backends.cudnn.benchmark = True
