"""Peak memory of a forward pass or a training step, measured by `python -m ser_nnunet.benchmark.peak_memory`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ser_nnunet.benchmark.systems import System
from ser_nnunet.errors import UserError
from ser_nnunet.nnunet.plans import PlannedConfiguration

SMALL = 32  # pixels: two at SERNet's deepest stride, because a normalisation needs more than one
STATUS = Path("/proc/self/status")


def measure_peak(system: System, device: str = "cpu", training: bool = False) -> int:
    """Return the bytes that one call of the network needs at its peak, above the loaded network and its input.

    Measured in a new process: on CUDA by `torch.cuda.max_memory_allocated`, on the CPU by the process's high-water mark
    (Linux: VmHWM; elsewhere getrusage), which never falls again. The allocator's reserve and oneDNN's rearranged
    weights are included, because the machine must have that memory too.

    Args:
        system: what is measured; one patch or slice (batch 1).
        device: `cpu`, `cuda` or `mps`.
        training: forward and backward pass of the logits in training mode, gradients included, the optimiser's state
            not; otherwise a forward pass alone.

    Raises:
        UserError: the process ended without a result (out of memory, no such device).
    """
    spec = asdict(system) | {"device": device, "training": training}
    done = subprocess.run(
        [sys.executable, "-m", "ser_nnunet.benchmark.peak_memory"],
        input=json.dumps(spec),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["killed: out of memory?"])[-1]
        raise UserError(f"peak memory of {system.name} on {device} couldn't be measured: {reason}")
    return int(done.stdout.strip().splitlines()[-1])


def measure_in_this_process(spec: dict[str, Any]) -> int:
    """Build the system, call it once, return the bytes; meant for a process that does nothing else.

    Args:
        spec: the fields of `System`, `device`, and `training`.
    """
    device, training = torch.device(spec.pop("device")), bool(spec.pop("training"))
    system = System(**spec | {"planned": PlannedConfiguration(**spec["planned"])})
    network = system.build().to(device)
    image = torch.zeros(system.input_shape, device=device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    else:
        warm_up(system, network)
        before = read_resident_bytes()
    if training:
        outputs = network.train()(image)
        logits = outputs[0] if isinstance(outputs, tuple) else outputs  # SERNet's prompts go with them
        logits.square().mean().backward()
    else:
        with torch.inference_mode():
            network(image)
    return (torch.cuda.max_memory_allocated() if device.type == "cuda" else read_peak_resident_bytes()) - before


def warm_up(system: System, network: torch.nn.Module) -> None:
    """Call the network on a small patch, so that thread pools and kernels' code (some 60 MB) aren't counted."""
    if system.kind == "sam":  # takes one size only, whose gigabytes make those MB negligible
        return
    steps = np.prod(np.array(system.planned.strides or [[1] * len(system.planned.patch_size)]), axis=0)
    edges = [min(max(2 * int(step), SMALL), edge) for step, edge in zip(steps, system.planned.patch_size, strict=True)]
    with torch.inference_mode():
        network(torch.zeros(1, system.planned.channels, *edges))


def read_resident_bytes() -> int:
    """Return the process's memory now (Linux), or the most it has had, where only that is known; in bytes.

    Linux keeps a high-water mark that imports may have raised far above the present memory: it is reset here.
    """
    if not STATUS.is_file():
        return read_peak_resident_bytes()
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return _status("VmHWM")  # a lower bound of the growth is better than a wrong one
    return _status("VmRSS")


def read_peak_resident_bytes() -> int:
    """Return the most memory that this process had, in bytes.

    Not `getrusage` on Linux: its figure survives exec, and so starts at the size of the process that started this one.
    """
    if STATUS.is_file():
        return _status("VmHWM")
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _status(key: str) -> int:
    match = re.search(rf"{key}:\s+(\d+) kB", STATUS.read_text(encoding="ascii"))
    if match is None:
        raise RuntimeError(f"{STATUS} has no {key}")
    return int(match[1]) * 1024


if __name__ == "__main__":
    print(measure_in_this_process(json.load(sys.stdin)))
