"""The page of errors quotes messages that nnU-Net, batchgenerators or this package really have."""

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.sources import repository_files

PAGE = REPOSITORY / "docs" / "errors.md"
QUOTED = re.findall(r"^### `([^`]+)`$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
OF_TORCH = (
    "operator torchvision::nms does not exist",
    "Torch not compiled with CUDA enabled",
    "CUDA out of memory",
    "Found no NVIDIA driver on your system",
)
NEXT_LINE = re.compile(r"""["']\s*\\?\n\s*[fr]?["']""")  # between the parts of a text that goes on in the next line


@cache
def sources():
    """The packages' sources, texts that are written over several lines joined."""
    folders = [Path(find_spec(name).origin).parent for name in ("nnunetv2", "batchgenerators")]
    files = [file for folder in folders for file in folder.rglob("*.py")]
    files += [REPOSITORY / name for name in repository_files("ser_nnunet/*.py", "dataset_conversion/*.py")]
    return NEXT_LINE.sub("", "\n".join(file.read_text(encoding="utf-8", errors="replace") for file in files))


@pytest.mark.parametrize("message", [message for message in QUOTED if message not in OF_TORCH])
def test_a_quoted_message_exists(message):
    parts = [part.strip() for part in message.split("…") if part.strip()]
    assert parts and [part for part in parts if part not in sources()] == []


def test_the_page_covers_what_users_ask_for():
    text = PAGE.read_text(encoding="utf-8")
    for word in (
        "requested nnunet trainer",
        "torchvision",
        "SER_SAM_CHECKPOINT",
        "out of memory",
        "-pretrained_weights",
    ):
        assert word in text
    assert len(QUOTED) > 20


def test_an_invented_message_is_found():
    with pytest.raises(AssertionError, match="No such thing"):
        test_a_quoted_message_exists("No such thing as … this")
