"""Patterns for paths with named placeholders, such as `patient{patient}/{patient}_{time}_FLAIR.nii.gz`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from ser_nnunet.errors import UserError

NEAREST = 3
"""Paths that a message shows for a pattern without matches."""
NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*")


@dataclass(frozen=True)
class PathPattern:
    """A pattern for the end of a path, or for all of it below SOURCE if it begins with `/` or contains `**`.

    `{name}` stands for one or more characters within a folder's or file's name, and for the same ones wherever it
    occurs again; `{name:REGEX}` says which; `*` is any part of a name, `?` one character, `**` any number of folders.
    """

    text: str
    compiled: re.Pattern[str]

    @classmethod
    def parse(cls, text: str, option: str) -> PathPattern:
        """Parse a pattern; raises `UserError`, which names the option, for one that is malformed."""
        anchored = text.startswith("/") or "**" in text  # else several folders could be what a placeholder means
        try:
            body = _translate(text.removeprefix("./").strip("/"))
            return cls(text, re.compile(body if anchored else f"(?:.*/)?{body}"))
        except (ValueError, re.error) as error:
            raise UserError(f"{option} {text!r}: {error}") from None

    @property
    def names(self) -> tuple[str, ...]:
        """The placeholders' names."""
        return tuple(self.compiled.groupindex)

    def match(self, path: str) -> dict[str, str] | None:
        """Return placeholder -> value for a path relative to SOURCE, or None where it does not match."""
        found = self.compiled.fullmatch(path)
        return found.groupdict() if found else None

    def find_nearest(self, paths: Sequence[str]) -> list[str]:
        """Return the paths that come nearest to the pattern, those first whose last names match it."""
        parts = split_names(self.text.strip("/"))

        def nearness(path: str) -> tuple[int, float]:
            names = path.split("/")
            matching = 0
            for part, name in zip(reversed(parts), reversed(names), strict=False):
                if not re.fullmatch(_translate(part, with_names=False), name):
                    break
                matching += 1
            plain = re.sub(r"\{[^{}]*\}|\*", "", self.text)
            tail = "/".join(names[-len(parts) :])
            return matching, SequenceMatcher(None, plain.lower(), tail.lower()).ratio()

        return sorted(paths, key=nearness, reverse=True)[:NEAREST]


def split_names(pattern: str) -> list[str]:
    """Split a pattern at its slashes, except those inside braces."""
    parts, depth = [""], 0
    for letter in pattern:
        depth += (letter == "{") - (letter == "}")
        if letter == "/" and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def _translate(text: str, with_names: bool = True) -> str:
    """Return the regular expression of a pattern; raises `ValueError` with what is wrong."""
    if not text:
        raise ValueError("it is empty")
    result, place, seen = "", 0, set[str]()
    while place < len(text):
        if text[place] == "{":
            end = _find_brace(text, place)
            name, _, form = text[place + 1 : end].partition(":")
            if not NAME.fullmatch(name):
                raise ValueError(f"{{{name}}} is no placeholder, expected a name such as {{patient}}")
            re.compile(form)
            if not with_names:
                result += (form and f"(?:{form})") or "[^/]+?"
            else:
                result += f"(?P={name})" if name in seen else f"(?P<{name}>{form or '[^/]+?'})"
            seen.add(name)
            place = end + 1
        elif text.startswith("**/", place):
            result, place = result + "(?:[^/]+/)*", place + 3
        elif text[place] == "}":
            raise ValueError("a } has no { before it")
        else:
            result += {"*": "[^/]*", "?": "[^/]"}.get(text[place], re.escape(text[place]))
            place += 1
    return result


def _find_brace(text: str, start: int) -> int:
    """Return the place of the brace that closes the one at `start`; a regular expression may have braces inside."""
    depth = 0
    for place in range(start, len(text)):
        depth += (text[place] == "{") - (text[place] == "}")
        if depth == 0:
            return place
    raise ValueError("a { is not closed")
