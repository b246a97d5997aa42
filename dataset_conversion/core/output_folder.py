"""The data set's folder in nnUNet_raw: named as nnU-Net wants it, and there only once it is complete."""

from __future__ import annotations

import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ser_nnunet.errors import UserError

MARK = ".converting-"
OLD = "-old"


def raw_folder(required: bool = True) -> Path | None:
    """The folder that the environment variable nnUNet_raw names; where it is unset None, or `UserError` if required."""
    folder = os.environ.get("nnUNet_raw")  # noqa: SIM112 - nnU-Net's own spelling
    if not folder and required:
        raise UserError("nnUNet_raw is not set: export nnUNet_raw=/folder/for/nnUNet_raw says where data sets go.")
    return Path(folder) if folder else None


def dataset_folder_name(dataset_id: int, name: str) -> str:
    """Return `DatasetXXX_Name`; raises `UserError` for an id or a name that nnU-Net cannot take apart again."""
    if not 1 <= dataset_id <= 999:
        raise UserError(f"the data set's id is {dataset_id}, nnU-Net takes 1 to 999")
    if not re.fullmatch(r"[A-Za-z0-9]+(?:[_-][A-Za-z0-9]+)*", name):
        raise UserError(f"the name {name!r} is not letters and digits, joined by single _ or - : choose another --name")
    return f"Dataset{dataset_id:03d}_{name}"


def demand_free(raw: Path, folder_name: str, overwrite: bool, source: Path) -> list[str]:
    """Refuse an id that is taken; return what the user should know about remains of an older data set.

    Another name under the same id is refused even with `overwrite`: nnU-Net could no longer tell the two apart, and
    deleting a data set that nobody named is not ours to do.
    """
    if source.resolve().is_relative_to((raw / folder_name).resolve()):
        raise UserError(f"{source} is where the data set would be written: point at the folder of the download")
    identifier = folder_name.split("_")[0]
    places = {
        name: Path(value) for name in ("nnUNet_preprocessed", "nnUNet_results") if (value := os.environ.get(name))
    }
    taken = {
        place: sorted(path.name for path in folder.glob(f"{identifier}_*") if path.is_dir())
        for place, folder in {"nnUNet_raw": raw, **places}.items()
    }
    others = [f"{place}/{name}" for place, names in taken.items() for name in names if name != folder_name]
    if others:
        raise UserError(f"the id of {folder_name} is taken by {', '.join(others)}: choose another id with -d")
    if folder_name in taken["nnUNet_raw"] and not overwrite:
        raise UserError(f"{raw / folder_name} exists: choose another id with -d, or replace it with --overwrite")
    return [
        f"{place}/{folder_name} stems from an earlier data set: delete it before planning and training again"
        for place, names in taken.items()
        if place != "nnUNet_raw" and folder_name in names
    ]


@contextmanager
def atomic_folder(raw: Path, folder_name: str) -> Iterator[Path]:
    """Give a hidden folder to write into; it takes its name only if the block ends well, else it is removed.

    An existing folder of that name is set aside, and deleted only after the new one has taken its place.
    """
    created = not raw.exists()
    raw.mkdir(parents=True, exist_ok=True)
    _sweep(raw, folder_name)
    temporary = raw / f".{folder_name}{MARK}{socket.gethostname()}-{os.getpid()}"
    temporary.mkdir()
    try:
        yield temporary
        _replace(temporary, raw / folder_name)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        if created:
            with suppress(OSError):
                raw.rmdir()
        raise


def _replace(temporary: Path, target: Path) -> None:
    aside = temporary.with_name(temporary.name + OLD)
    try:
        if target.exists():
            target.rename(aside)
        temporary.rename(target)
    except BaseException:
        if aside.exists() and not target.exists():
            aside.rename(target)
        shutil.rmtree(aside, ignore_errors=True)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _sweep(raw: Path, folder_name: str) -> None:
    """Remove what runs on this machine left behind that were killed before they could clean up.

    A data set that such a run had set aside is kept while no other stands in its place: it may be the only one.
    """
    prefix = f".{folder_name}{MARK}{socket.gethostname()}-"
    for path in raw.glob(f"{prefix}*"):
        remains = path.name[len(prefix) :]
        if remains.endswith(OLD) and not (raw / folder_name).exists():
            continue
        remains = remains.removesuffix(OLD)
        if remains.isdigit() and not _is_running(int(remains)):
            shutil.rmtree(path, ignore_errors=True)


def _is_running(process: int) -> bool:
    if os.name == "nt":
        return True  # signal 0 is Ctrl-C there: better to leave remains lying about
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
