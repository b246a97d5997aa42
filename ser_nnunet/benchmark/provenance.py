"""Provenance of a measurement: versions, machine, load, date, command."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("ser-nnunet", "torch", "nnunetv2")


def collect_provenance(device: str = "cpu", **settings: object) -> dict[str, str]:
    """Return command, date, versions, machine and load as text; `settings` are added under their own names."""
    import torch

    about = {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        **{package: version(package) for package in PACKAGES},
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": cpu_model(),
        "cores": str(os.cpu_count()),
        "torch threads": str(torch.get_num_threads()),
        "device": device,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        # Of the last minute: above the number of cores, timings are disturbed.
        "load average": f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown",
    }
    return about | {key.replace("_", " "): str(value) for key, value in settings.items()}


def cpu_model() -> str:
    """Return the processor's name as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
