"""What the runtime needs besides Python, checked before anything of it is imported."""

from __future__ import annotations

from importlib.util import find_spec

from ser_nnunet.errors import UserError

NEEDED = ("numpy",)
READERS = ("SimpleITK", "nibabel")
"""In the order of preference: nibabel reads NIfTI files only, and takes a twentieth of SimpleITK's place."""
ENGINES = ("openvino", "onnxruntime")
"""In the order of preference: OpenVINO computes these networks faster where both are installed (docs/deployment.md)."""


def available_engines() -> tuple[str, ...]:
    """Return the installed ones of `ENGINES`, the preferred one first."""
    return tuple(name for name in ENGINES if find_spec(name) is not None)


def available_readers() -> tuple[str, ...]:
    """Return the installed ones of `READERS`, the preferred one first."""
    return tuple(name for name in READERS if find_spec(name) is not None)


def check_requirements() -> None:
    """Raise `UserError` with the line that installs what is missing."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    notes = []
    if not available_readers():
        missing.append("SimpleITK")
        notes.append("nibabel will do instead of SimpleITK for NIfTI files")
    if not available_engines():
        missing.append("onnxruntime")
        notes.append("openvino will do instead of onnxruntime")
    if missing:
        alternatives = f" ({'; '.join(notes)})" if notes else ""
        raise UserError(
            f"prediction needs {', '.join(missing)}, not installed here{alternatives}: "
            f"python -m pip install {' '.join(missing)}"
        )
