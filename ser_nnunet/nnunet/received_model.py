"""What a model from elsewhere holds, found out without loading it: nnU-Net unpickles checkpoints, which runs code."""

from __future__ import annotations

import os
import shutil
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryFile
from typing import IO, Any, NamedTuple

from ser_nnunet.errors import UserError
from ser_nnunet.nnunet.received_arrays import ARRAYS_ENDING, refuse_objects
from ser_nnunet.nnunet.received_checkpoint import CHECKPOINT_ENDINGS, PICKLE_ENDINGS, imports_of
from ser_nnunet.nnunet.received_code import UNREADABLE, AddedPart, KnownParts, examine_added
from ser_nnunet.nnunet.received_network import examine_networks
from ser_nnunet.nnunet.trainers import EXTERNAL_TRAINERS, find_trainer
from ser_nnunet.utils.files import parse_json
from ser_nnunet.utils.model_format import RECORD, require_known_format
from ser_nnunet.utils.pickle_contents import is_plain
from ser_nnunet.utils.printable import counted
from ser_nnunet.utils.regular_files import regular_size
from ser_nnunet.utils.variables import environment

IMAGE_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha", ".gipl", ".png", ".bmp", ".tif", ".tiff")
"""Of nnU-Net's readers, in which it writes the masks of a validation."""
DATA_ENDINGS = (".json", ".txt", ".pdf", ".csv", ".md", ".log", ".training.lock", *IMAGE_ENDINGS)
POSTPROCESSING = "postprocessing.pkl"
POSTPROCESSING_STEP = (
    "nnunetv2.postprocessing.remove_connected_components.remove_all_but_largest_component_from_segmentation"
)
"""The only function that nnUNetv2_find_best_configuration names in its file; it computes with arrays alone."""
NNUNET_TRAINER = "nnUNetTrainer"  # builds the networks that plans name, in every installation
LARGEST_JSON = 64 << 20
LARGEST_RATIO = 200  # of unpacked to packed bytes; a model's weights hardly shrink


class Observation(NamedTuple):
    """A row of the result: what was looked at, whether it is as it should be, and what was found."""

    subject: str
    is_fine: bool
    found: str


class ModelFiles:
    """The files of a model in a folder or in a zip, by their path below it."""

    def __init__(self, place: Path) -> None:
        """List the files; raises `UserError` for what is neither a folder nor a zip."""
        self.place, self.archive = place, None
        if place.is_dir():
            self.names = sorted(file.relative_to(place).as_posix() for file in place.rglob("*") if not file.is_dir())
            return
        try:
            regular_size(place)
            self.archive = zipfile.ZipFile(place)
        except (OSError, zipfile.BadZipFile) as error:
            reason = getattr(error, "strerror", None) or error
            raise UserError(f"{place}: a model's folder or zip expected ({reason})") from None
        self.names = [member.filename for member in self.archive.infolist() if not member.is_dir()]

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """Open a file; `OSError` if it is none, `ValueError` if it would grow beyond reason.

        Of a zip, it is unpacked into a temporary file: going back in a packed one unpacks it from the beginning.
        """
        if self.archive is None:
            regular_size(self.place / name)
            with (self.place / name).open("rb") as stream:
                yield stream
            return
        about = self.archive.getinfo(name)
        if about.file_size > LARGEST_RATIO * max(about.compress_size, 1):
            raise ValueError(f"{about.compress_size / 1e6:.1f} MB become {about.file_size / 1e6:.0f} MB")
        with self.archive.open(name) as member, TemporaryFile() as unpacked:
            shutil.copyfileobj(member, unpacked)
            unpacked.seek(0)
            yield unpacked


def examine_model(place: Path, known: KnownParts) -> Iterator[Observation]:
    """Yield what a model's folder or zip holds, and whether this installation can predict with it.

    Args:
        place: the folder or zip.
        known: what `ser-nnunet export --format nnunet` adds; no problem where it is as it would be written here.

    Raises:
        UserError: it is neither a folder nor a zip, or holds no checkpoint.
    """
    files = ModelFiles(place)
    checkpoints = [name for name in files.names if name.lower().endswith(PICKLE_ENDINGS)]
    if not any(name.lower().endswith(CHECKPOINT_ENDINGS) for name in checkpoints):
        raise UserError(f"{place} holds no checkpoint (*.pth): a folder of nnUNet_results or an exported zip expected")
    if files.archive is not None:
        yield examine_archive(files.archive)
    for name in checkpoints:
        yield _examine_checkpoint(files, name)
    yield from _examine_arrays(files)
    folders = sorted({PurePosixPath(name).parent.parent for name in checkpoints if name.lower().endswith(".pth")})
    added = {folder: list(_examine_added(files, folder, known)) for folder in folders}
    explained = {name for parts in added.values() for part in parts for name in part.files}
    data = (*PICKLE_ENDINGS, ARRAYS_ENDING, *DATA_ENDINGS)
    others = [name for name in files.names if name not in explained and not name.lower().endswith(data)]
    if others:
        yield Observation("other files", False, f"not needed for a prediction: {', '.join(others[:5])} ({len(others)})")
    for folder, parts in added.items():
        yield from (Observation(part.subject, part.is_fine, part.found) for part in parts)
        is_brought = any(part.subject == "code" and part.is_fine for part in parts)
        yield from _examine_configuration(files, folder, is_brought)


def _examine_added(files: ModelFiles, folder: PurePosixPath, known: KnownParts) -> Iterator[AddedPart]:
    """Yield what the export added to a `TRAINER__PLANS__CONFIGURATION`; the parts' files have their whole names.

    The names are compared as they are spelt: `a//b.py` would replace `a/b.py` when a zip is unpacked.
    """
    before = "" if folder == PurePosixPath() else f"{folder}/"
    names = [name.removeprefix(before) for name in files.names if name.startswith(before)]
    trainer = (folder.name or files.place.resolve().name).partition("__")[0]
    for part in examine_added(names, lambda name: files.open(before + name), trainer, known):
        yield part._replace(files=[before + name for name in part.files])


def examine_archive(archive: zipfile.ZipFile) -> Observation:
    """Check whether unpacking stays in the target folder and within reason."""
    members = archive.infolist()
    outside = [member.filename for member in members if _leads_out(member)]
    packed, unpacked = (sum(getattr(member, size) for member in members) for size in ("compress_size", "file_size"))
    problems = [f"writes outside its folder: {', '.join(outside[:5])}"] if outside else []
    unpacked_as = {PurePosixPath(member.filename.replace("\\", "/")).as_posix().lower() for member in members}
    if len(unpacked_as) < len(members):
        problems.append("holds several files of one name")
    if unpacked > LARGEST_RATIO * max(packed, 1):
        problems.append(f"{packed / 1e6:.1f} MB become {unpacked / 1e6:.0f} MB")
    found = "; ".join(problems) or f"{len(members)} files, {unpacked / 1e6:.1f} MB, all below its folder"
    return Observation("zip", not problems, found)


def _leads_out(member: zipfile.ZipInfo) -> bool:
    path = PurePosixPath(member.filename.replace("\\", "/"))
    is_link = stat.S_ISLNK(member.external_attr >> 16)
    return path.is_absolute() or ".." in path.parts or ":" in "".join(path.parts[:1]) or is_link


def _examine_checkpoint(files: ModelFiles, name: str) -> Observation:
    """List what a checkpoint, or another pickle, would import if it were loaded."""
    subject = PurePosixPath(name).name if name.count("/") < 2 else "/".join(PurePosixPath(name).parts[-2:])
    try:
        with files.open(name) as stream:
            imported = imports_of(stream, name)
    except UNREADABLE as error:
        return Observation(subject, False, f"can't be examined, don't load it: {error}")
    if PurePosixPath(name).name == POSTPROCESSING:
        imported -= {POSTPROCESSING_STEP}
    if unsafe := sorted(each for each in imported if not is_plain(each)):
        return Observation(subject, False, f"loading it runs {', '.join(unsafe[:5])} ({len(unsafe)}): don't load it")
    return Observation(subject, True, "tensors and plain data")


def _examine_arrays(files: ModelFiles) -> Iterator[Observation]:
    """Say in one row whether the `.npz` files, which a validation leaves, hold numbers alone."""
    names = [name for name in files.names if name.lower().endswith(ARRAYS_ENDING)]
    problems = []
    for name in names:
        try:
            with files.open(name) as stream:
                refuse_objects(stream)
        except UNREADABLE as error:
            problems.append(f"{name}: {error}")
    if problems:
        found = f"not only numbers, don't load them: {'; '.join(problems[:5])} ({len(problems)})"
        yield Observation("arrays", False, found)
    elif names:
        yield Observation("arrays", True, f"{counted(len(names), 'file')} (*{ARRAYS_ENDING}) of numbers alone")


def _examine_configuration(files: ModelFiles, folder: PurePosixPath, is_brought: bool) -> Iterator[Observation]:
    """Say which trainer and network a `TRAINER__PLANS__CONFIGURATION` wants, and whether they are here.

    Args:
        files: of the model.
        folder: of the configuration.
        is_brought: whether the trainer is in it, as this installation would write it.
    """
    name = folder.name or files.place.resolve().name
    if name.count("__") != 2:
        yield Observation(name, False, "a folder TRAINER__PLANS__CONFIGURATION expected around fold_X")
        return
    trainer = name.partition("__")[0]
    plans = (folder / "plans.json").as_posix()
    try:
        with files.open(plans) as stream:
            content = parse_json(stream.read(LARGEST_JSON))
        networks = list(examine_networks(content["configurations"]))
        record = content.get(RECORD)
    except (*UNREADABLE, KeyError, TypeError, AttributeError, ImportError) as error:
        yield _find_trainer(trainer, files.place)
        yield Observation(plans, False, f"no plans of nnU-Net's ({type(error).__name__}: {error})")
        return
    if isinstance(record, dict):
        yield _examine_record(record)
    if is_brought:
        yield Observation("trainer", True, f"{trainer} is brought along, for nnUNet_extTrainer")
    elif isinstance(record, dict) and record.get("builder") == NNUNET_TRAINER != trainer:
        yield Observation("trainer", True, f"{trainer} isn't needed for a prediction")
    else:
        yield _find_trainer(trainer, files.place)
    for is_fine, found in networks:
        yield Observation("network", is_fine, found)


def _examine_record(record: dict[str, Any]) -> Observation:
    """Compare the model's format with the one that this installation reads."""
    by = f"trained with ser-nnunet {str(record.get('version'))[:40]}"
    try:
        require_known_format({RECORD: record}, by)
    except UserError as error:
        return Observation("model format", False, str(error))
    return Observation("model format", True, f"{record['format']}, {by}")


def _find_trainer(name: str, place: Path) -> Observation:
    """Look for a trainer anywhere but in the received model: nnU-Net's search imports what it finds."""
    here, listed = place.resolve(), os.environ.get(EXTERNAL_TRAINERS, "").split(os.pathsep)
    external = [Path(folder).expanduser().resolve() for folder in listed if folder.strip()]
    if here.is_dir():
        external = [each for each in external if not (each.is_relative_to(here) or here.is_relative_to(each))]
    try:
        with environment({EXTERNAL_TRAINERS: os.pathsep.join(map(str, external))}):
            module = find_trainer(name).__module__
    except Exception as error:  # nnU-Net's search imports all trainers
        return Observation("trainer", False, f"{name} is not found ({type(error).__name__}); see ser-nnunet env")
    return Observation("trainer", True, f"{name} is here ({module})")
