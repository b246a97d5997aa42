"""The data set's folder in nnUNet_raw: named as nnU-Net expects, and present only once it is complete."""

from __future__ import annotations

import os
import re
import shutil
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from ser_nnunet.dataset_conversion.core.data_classes import LABEL, UNLABELLED, Case, Problem
from ser_nnunet.errors import UserError
from ser_nnunet.nnunet.paths import PREPROCESSED, RAW, RESULTS, nnunet_folder
from ser_nnunet.utils.locks import ExclusiveLock
from ser_nnunet.utils.output_checks import require_writable_folder
from ser_nnunet.utils.processes import is_running

FILE_ENDING = ".nii.gz"
FOLDERS = {
    "train": ("imagesTr", "labelsTr"),
    UNLABELLED: ("imagesTr", "labelsTr"),
    "test": ("imagesTs", "labelsTs"),
}
FINGERPRINT = "dataset_fingerprint.json"
UNFINISHED = ".converting-"
REPLACED = "-old"


def make_folder_name(dataset_id: int, name: str) -> str:
    """Return `DatasetXXX_Name`; raises `UserError` for an id or a name that nnU-Net cannot parse."""
    if not 1 <= dataset_id <= 999:
        raise UserError(f"the data set's id is {dataset_id}, nnU-Net takes 1 to 999")
    if not re.fullmatch(r"[A-Za-z0-9]+(?:[_-][A-Za-z0-9]+)*", name):
        raise UserError(f"the name {name!r} is not letters and digits, joined by single _ or - : choose another --name")
    return f"Dataset{dataset_id:03d}_{name}"


def make_output_path(case: Case, role: str) -> str:
    """Return the path of one volume below the data set's folder."""
    images, labels = FOLDERS[case.split]
    if role == LABEL:
        return f"{labels}/{case.name}{FILE_ENDING}"
    return f"{images}/{case.name}_{list(case.images).index(role):04d}{FILE_ENDING}"


def find_output_root_inside(source: Path, raw: Path | None) -> Path | None:
    """Return nnUNet_raw if it lies inside the source, where data sets already converted must not be found again."""
    if raw is None or not raw.resolve().is_relative_to(source.resolve()):
        return None
    if raw.resolve() == source.resolve():
        raise UserError(f"{source} is nnUNet_raw itself: give the folder of the download")
    return raw


def check_id(raw: Path, folder_name: str, overwrite: bool, sources: Sequence[Path]) -> list[Problem]:
    """Refuse an id that is taken; return a note for each folder that an older data set of that name left behind.

    Another name under the same id is refused even with `overwrite`: nnU-Net could no longer distinguish the two, and
    a data set that the user didn't name is never deleted.
    """
    for source in sources:
        if source.resolve().is_relative_to((raw / folder_name).resolve()):
            raise UserError(f"{source} is where the data set would be written: give another folder")
    places = {RAW: raw, **{name: folder for name in (PREPROCESSED, RESULTS) if (folder := nnunet_folder(name))}}
    taken = {
        place: sorted(
            path.name
            for path in folder.glob(f"{folder_name.split('_')[0]}_*")
            if path.is_dir() or (place == RAW and path.is_symlink())  # to a disk that is not there now
        )
        for place, folder in places.items()
    }
    others = [f"{place}/{name}" for place, names in taken.items() for name in names if name != folder_name]
    if others:
        raise UserError(f"the id of {folder_name} is taken by {', '.join(others)}: choose another id with -d")
    if folder_name in taken[RAW] and not overwrite:
        raise UserError(f"{raw / folder_name} exists: choose another id with -d, or replace it with --overwrite")
    return [
        Problem("earlier data set", "", f"{place}/{folder_name} {_describe_earlier(folder / folder_name)}", fatal=False)
        for place, folder in places.items()
        if place != RAW and folder_name in taken[place]
    ]


def _describe_earlier(folder: Path) -> str:
    """Return what is left of an earlier data set, which may be its fingerprint alone, and what to do."""
    if [path.name for path in folder.iterdir()] == [FINGERPRINT]:
        return f"has the {FINGERPRINT} of an earlier data set: planning uses it; delete it if that is not intended"
    return "is of an earlier data set: delete it before planning and training again"


@contextmanager
def lock_id(raw: Path, dataset_id: int) -> Iterator[None]:
    """Keep other conversions to this id away within the block; whatever their name, nnU-Net couldn't tell them apart.

    Raises:
        UserError: another conversion to this id is running (says whose), or nnUNet_raw can't be written.
    """
    require_writable_folder(raw)
    created = [folder for folder in (raw, *raw.parents) if not folder.exists()]
    raw.mkdir(parents=True, exist_ok=True)
    try:
        with ExclusiveLock(raw / f".Dataset{dataset_id:03d}.lock", f"a conversion to Dataset{dataset_id:03d} in {raw}"):
            yield
    finally:
        with suppress(OSError):  # not empty: the data set is there
            for folder in created:
                folder.rmdir()


@contextmanager
def atomic_folder(raw: Path, folder_name: str) -> Iterator[Path]:
    """Yield a hidden folder to write into; it is renamed if the block ends without an error, else removed.

    An existing folder of that name is moved aside, and deleted only once the new one has taken its place. The folder
    that a link leads to is kept.

    `utils.files.replacing` does not suffice here: the temporary folder's name holds host and process id, so that the
    remains of killed runs are recognised, and an existing data set is set aside until the new one is complete.
    """
    created = not raw.exists()
    raw.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(raw, folder_name)
    target = raw / folder_name
    temporary = raw / f".{folder_name}{UNFINISHED}{socket.gethostname()}-{os.getpid()}"
    replaced = temporary.with_name(temporary.name + REPLACED)
    temporary.mkdir()
    try:
        yield temporary
        if os.path.lexists(target):
            target.rename(replaced)
        temporary.rename(target)
    except BaseException:
        if os.path.lexists(replaced) and not os.path.lexists(target):
            replaced.rename(target)
        shutil.rmtree(temporary, ignore_errors=True)
        if created:
            with suppress(OSError):
                raw.rmdir()
        raise
    finally:
        if os.path.lexists(target):
            _remove(replaced)


def _remove(folder: Path) -> None:
    """Remove a folder, or a link without the folder that it leads to."""
    if folder.is_symlink():
        with suppress(OSError):
            folder.unlink()
    else:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_leftovers(raw: Path, folder_name: str) -> None:
    """Remove the folders of conversions that were killed on this machine before they could clean up.

    A data set that such a conversion had moved aside is kept while no other has its name: it may be the only one.
    """
    prefix = f".{folder_name}{UNFINISHED}{socket.gethostname()}-"
    for path in raw.glob(f"{prefix}*"):
        if path.name.endswith(REPLACED) and not os.path.lexists(raw / folder_name):
            continue
        process = path.name[len(prefix) :].removesuffix(REPLACED)
        if process.isdigit() and not is_running(int(process)):
            _remove(path)
