"""What an exported model file from elsewhere holds, found out without running its code or loading its networks."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator
from pathlib import Path

from ser_nnunet import __version__
from ser_nnunet.errors import UserError
from ser_nnunet.export.model_writer import runtime_sources
from ser_nnunet.nnunet.received_checkpoint import PICKLE_ENDINGS
from ser_nnunet.nnunet.received_model import Observation, examine_archive
from ser_nnunet.runtime.model_file import MANIFEST, ModelFile, open_model
from ser_nnunet.runtime.normalization import SCHEMES
from ser_nnunet.runtime.requirements import available_engines, check_requirements
from ser_nnunet.utils.regular_files import regular_size


def is_exported(place: Path) -> bool:
    """Return whether a path is a file that `ser-nnunet export` may have written, which holds no pickle."""
    try:
        regular_size(place)
        with zipfile.ZipFile(place) as archive:
            names = archive.namelist()
            return MANIFEST in names and not any(name.lower().endswith(PICKLE_ENDINGS) for name in names)
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        return False


def examine_exported(place: Path) -> Iterator[Observation]:
    """Yield what an exported file holds, whether it is as it was exported, and whether it can predict here."""
    with zipfile.ZipFile(place) as archive:
        size = examine_archive(archive)
    yield size
    if not size.is_fine:
        return
    try:
        model = open_model(place)
    except UserError as error:
        yield Observation("parts", False, str(error))
        return
    count, recipe = len(model.manifest["sha256"]), model.recipe
    yield Observation("parts", True, f"{count}, with the SHA-256 of the manifest, whose own is {model.sha256}")
    yield _examine_code(model)
    known = [str(recipe.provenance.get(name, f"unknown {name}")) for name in ("trainer", "dataset")]
    classes = ", ".join(name for name in recipe.labels if name not in ("background", "ignore"))
    networks = f"{len(model.networks)} networks" if len(model.networks) > 1 else "1 network"
    description = f"{' on '.join(known)}, {recipe.configuration}, {networks}; {', '.join(recipe.channels)} -> {classes}"
    unknown = sorted({each.scheme for each in recipe.normalization} - set(SCHEMES))
    problem = f"; {', '.join(unknown)} is not known here" if unknown else ""
    yield Observation("model", not unknown, f"{description}{problem}")
    try:
        check_requirements()
    except UserError as error:
        yield Observation("prediction", False, str(error))
    else:
        yield Observation("prediction", True, f"can run here, by {available_engines()[0]}")


def _examine_code(model: ModelFile) -> Observation:
    """Compare the code that `python FILE` would run with that of this installation."""
    ours = {name: hashlib.sha256(content).hexdigest() for name, content in runtime_sources().items()}
    theirs = {name: digest for name, digest in model.manifest["sha256"].items() if not name.startswith("model/")}
    different = sorted(name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name))
    if not different:
        return Observation("code", True, f"that of ser-nnunet {__version__}, which is installed here")
    runtime = model.manifest.get("runtime")
    version = str(runtime.get("version")) if isinstance(runtime, dict) else "an unknown version"
    found = f"{', '.join(different[:5])} ({len(different)}) differ from ser-nnunet {__version__}"
    if version != __version__:
        found = f"said to be of ser-nnunet {version}, here is {__version__}: can't be compared"
    return Observation("code", False, f"{found}. `python FILE` would run it; `ser-nnunet predict -m FILE` does not")
