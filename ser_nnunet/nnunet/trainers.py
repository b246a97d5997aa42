"""Where nnU-Net looks for trainers, and looking one up as it does."""

from __future__ import annotations

import contextlib
import io
import os
import re
import warnings
from collections.abc import Iterator
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ser_nnunet.errors import UserError
from ser_nnunet.utils.variables import environment

if TYPE_CHECKING:
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

EXTERNAL_TRAINERS = "nnUNet_extTrainer"
COMPILED = (".so", ".pyd")  # modules that hold the names of their classes as text
UNNAMED = re.compile(r"import \*|\b(globals|locals|vars|setattr|exec)\(|__dict__|__getattr__")
"""How a module gets classes that its text doesn't name."""


def trainers_folder() -> Path:
    """Return the folder of SER's trainers, in a checkout or in site-packages; `UserError` if it is missing."""
    spec = find_spec("ser_nnunet.trainers")
    if spec is None or not spec.submodule_search_locations:
        raise UserError("ser_nnunet is installed without its trainers: reinstall it with pip")
    return Path(next(iter(spec.submodule_search_locations))).resolve()


def with_trainers(current: str | None) -> str:
    """Return the value of nnUNet_extTrainer with SER's folder in it, behind what is there already."""
    folders = [folder for folder in (current or "").split(os.pathsep) if folder.strip()]
    own = trainers_folder()
    if own not in [Path(folder).expanduser().resolve() for folder in folders]:
        folders.append(str(own))
    return os.pathsep.join(folders)


def find_trainer(name: str, as_set: bool = False) -> type[nnUNetTrainer]:
    """Return a trainer's class by nnU-Net's own search, whose output and warnings are kept off the screen.

    Args:
        name: as after `-tr`.
        as_set: search nnUNet_extTrainer as it is set; otherwise SER's folder is searched too.

    Raises:
        RuntimeError: there is no trainer of this name.
    """
    current = os.environ.get(EXTERNAL_TRAINERS, "")
    external = current if as_set else with_trainers(current)
    if not _may_exist(name, external):  # nnU-Net would import all of its trainers to find this out
        similar = ", ".join(similar_trainers(name))
        raise RuntimeError(f"there is no trainer {name}" + (f"; similar ones are {similar}" if similar else ""))
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    variables = {} if as_set else {EXTERNAL_TRAINERS: external}
    with environment(variables), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the search imports all of nnU-Net's trainers and what they need
        trainer: type[nnUNetTrainer] = recursive_find_trainer_class_by_name(name)
    return trainer


def is_trainer(name: str) -> bool:
    """Return whether nnU-Net would find a trainer with SER's folder in nnUNet_extTrainer; a faulty one counts."""
    try:
        find_trainer(name)
    except RuntimeError:
        return False
    except Exception:  # whatever a user's module raises when it is imported
        return True
    return True


def list_trainers() -> list[str]:
    """Return the classes in nnU-Net's own folder of trainers, in SER's and in nnUNet_extTrainer, without an import.

    A class is also found where a file that is named like it imports it.
    """
    names: set[str] = set()
    for file, text, _ in _sources(with_trainers(os.environ.get(EXTERNAL_TRAINERS))):
        names |= {*re.findall(r"^class (\w+)", text, re.MULTILINE), *re.findall(rf"import ({file.stem})\b", text)}
    return sorted(names)


def similar_trainers(name: str) -> list[str]:
    """Return up to three trainers whose names are like this one but for upper case, the most similar first."""
    known: dict[str, list[str]] = {}
    for each in list_trainers():
        known.setdefault(each.lower(), []).append(each)
    return [each for match in get_close_matches(name.lower(), known, 3) for each in known[match]][:3]


def _sources(external: str) -> Iterator[tuple[Path, str, bool]]:
    """Yield the files in which nnU-Net looks for trainers, their text, and whether they are of neither nnU-Net nor SER.

    Args:
        external: a value of nnUNet_extTrainer.
    """
    spec = find_spec("nnunetv2")
    assert spec is not None and spec.origin is not None
    known = [Path(spec.origin).parent / "training" / "nnUNetTrainer", trainers_folder()]
    listed = (Path(folder).expanduser() for folder in external.split(os.pathsep) if folder.strip())
    for folder in dict.fromkeys([known[0], *listed]):
        for root, _, names in os.walk(folder, followlinks=True):
            for file in [Path(root, name) for name in names if name.endswith((".py", *COMPILED))]:
                try:
                    text = file.read_text(encoding="utf-8", errors="replace")
                except OSError:  # a link that leads nowhere, or a file of somebody else's
                    continue
                yield file, text, folder.resolve() not in known


def _may_exist(name: str, external: str) -> bool:
    """Return whether nnU-Net's search may find a trainer: it is named in a file, or one may have it unnamed.

    Args:
        name: as after `-tr`.
        external: a value of nnUNet_extTrainer.
    """
    return any(name in text or (is_own and UNNAMED.search(text)) for _, text, is_own in _sources(external))
