"""The format of trained models: its number, the record of it in checkpoints and plans, and refusing another one.

The number changes with every change after which earlier weights don't fit the network, or mean something else in it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ser_nnunet import __version__
from ser_nnunet.errors import UserError

MODEL_FORMAT = 4  # the latest
EARLIER_FORMATS = (2, 3)  # that are read, too; a network that hasn't changed since is still written in them
FIRST_VERSIONS = {1: "0.1.0", 2: "0.2.0", 3: "0.4.0", 4: "0.6.0"}  # of this package, by format
VERSION = re.compile(r"\d+(\.\w{1,10}){1,4}")  # nothing else of a file is put into a command that a user may copy
RECORD = "ser_nnunet"
"""The key of the record in checkpoints and in a model folder's plans.json; versions before 0.2.0 wrote none."""

PACKAGES = ("nnunetv2", "torch", "numpy")


def make_record(trainer: str, builder: str, model_format: int) -> dict[str, Any]:
    """Return what a model says of the code that trained it: plain values, which JSON and `weights_only=True` can hold.

    Args:
        trainer: the name of the trainer's class.
        builder: the name of the class that builds its network for a prediction.
        model_format: of its network.
    """
    versions = {name: _version(name) for name in PACKAGES}
    return {
        "version": __version__,
        "format": model_format,
        "trainer": trainer,
        "builder": builder,
        "versions": versions,
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def recorded_trainer(content: Mapping[str, Any]) -> str:
    """Return the trainer of a checkpoint's content, whose `trainer_name` is the class that builds the network."""
    record = content.get(RECORD)
    name = record.get("trainer") if isinstance(record, Mapping) else None
    return str(name or content["trainer_name"])


def require_known_format(content: Mapping[str, Any], where: object) -> None:
    """Refuse a checkpoint or plans of another format; without a record nothing is known, and nothing refused.

    Args:
        content: of the file.
        where: the file, for the message.

    Raises:
        UserError: names both versions and the one to install.
    """
    record = content.get(RECORD)
    if isinstance(record, Mapping):
        require_format(record.get("format"), where, record.get("version"))


def require_format(number: object, where: object, written_by: object = None) -> None:
    """Refuse a format other than `MODEL_FORMAT` and `EARLIER_FORMATS`.

    Args:
        number: the format's.
        where: what has it, for the message.
        written_by: the package's version that wrote it, if that is known.

    Raises:
        UserError: names both versions and the one to install.
    """
    if number == MODEL_FORMAT or number in EARLIER_FORMATS:
        return
    known = written_by if isinstance(written_by, str) and VERSION.fullmatch(written_by) else None
    author = known or (FIRST_VERSIONS.get(number) if isinstance(number, int) else None)
    if author:
        remedy = f"pip install ser-nnunet=={author}, or train the model again"
    else:
        remedy = "it is from a later version: pip install --upgrade ser-nnunet"
    found = f"{str(number)[:20]} of ser-nnunet {author}" if author else str(number)[:20]
    read = " and ".join(map(str, (*EARLIER_FORMATS, MODEL_FORMAT)))
    raise UserError(
        f"{where} has the model format {found}, and ser-nnunet {__version__} reads the formats {read}: {remedy}"
    )
