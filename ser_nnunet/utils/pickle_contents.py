"""What a pickle would import if it were loaded, read from its instructions: nothing of it is run."""

from __future__ import annotations

import pickletools
import re
from collections.abc import Iterator
from typing import IO

PLAIN = re.compile(
    r"collections\.OrderedDict|builtins\.(?:set|frozenset|bytearray|complex)|_codecs\.encode"
    r"|torch\._utils\._rebuild_(?:tensor(?:_v2)?|parameter)"
    r"|torch\.(?:\w+Storage|Size|device|u?int\d+|float\d+|bfloat16|bool|complex\d+)"
    r"|torch\.storage\.(?:Untyped|Typed)Storage"
    r"|numpy\.(?:dtype|ndarray|dtypes\.\w+DType)"
    r"|numpy\._?core\.multiarray\.(?:scalar|_reconstruct)"
)
"""Names that make tensors, arrays and plain data, and run no other code."""

TEXTS = {"SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE", "STRING", "BINSTRING", "SHORT_BINSTRING"}
STORES = {"PUT", "BINPUT", "LONG_BINPUT"}
LOADS = {"GET", "BINGET", "LONG_BINGET"}


def imported_names(stream: IO[bytes]) -> Iterator[str]:
    """Yield `module.name` of everything that a pickle imports; "?" where its instructions hide the name.

    Raises:
        ValueError: it is no whole pickle.
    """
    memo: dict[int, str | None] = {}
    texts: list[str | None] = []  # what the latest instructions have put on the stack; None for anything but a text
    try:
        for instruction, argument, _ in pickletools.genops(stream):
            name = instruction.name
            if name in ("PROTO", "FRAME"):  # neither uses the stack
                continue
            if name in ("GLOBAL", "INST"):
                yield str(argument).replace(" ", ".", 1)
                texts.append(None)
            elif name == "STACK_GLOBAL":
                module, attribute = texts[-2:] if len(texts) > 1 else (None, None)
                yield f"{module}.{attribute}" if module and attribute else "?"
                texts.append(None)
            elif name == "MEMOIZE":
                memo[len(memo)] = texts[-1] if texts else None
            elif name in STORES:
                memo[int(str(argument))] = texts[-1] if texts else None
            elif name in LOADS:
                texts.append(memo.get(int(str(argument))))
            elif name.startswith("EXT"):  # a code of copyreg's registry instead of a name
                yield "?"
            else:
                texts.append(str(argument) if name in TEXTS else None)
            del texts[:-2]
    except (ValueError, UnicodeDecodeError, OverflowError, EOFError, MemoryError) as error:
        raise ValueError(f"no whole pickle ({error})") from None


def is_plain(name: str) -> bool:
    """Return whether an imported name only makes tensors, arrays or plain data."""
    return PLAIN.fullmatch(name) is not None
