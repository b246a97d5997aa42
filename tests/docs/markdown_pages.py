"""The documentation's pages as tests read them: code blocks, commands, links, and the anchors of headings."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import REPOSITORY

FENCE = re.compile(r"^(?P<fence>```+)\s*(?P<language>[\w-]*)\s*(?P<options>.*)$")
HEADING = re.compile(r"^#+ (.+)$")
TITLE = re.compile(r'title="([^"]+)"')
COMMENT = re.compile(r"^<!--\s*(.*?)\s*-->$")
TOOLS = ("ser-nnunet", "nnUNetv2_")


@dataclass(frozen=True)
class Block:
    """A fenced code block.

    Attributes:
        page: the file that it is in.
        line: number of its first line.
        section: the heading above it.
        language: as after the fence.
        title: of the fence's option `title`: the file that the block's text is for.
        comment: the HTML comment in the line above the fence.
        text: its lines.
    """

    page: Path
    line: int
    section: str
    language: str
    title: str
    comment: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(REPOSITORY)}:{self.line}"


def pages() -> list[Path]:
    """Every page that readers see: README, changelog, and docs/ with its benchmark pages."""
    return [REPOSITORY / "README.md", REPOSITORY / "CHANGELOG.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]


def code_blocks(page: Path) -> list[Block]:
    """Return the fenced code blocks of a page."""
    blocks = []
    lines = iter(enumerate(page.read_text(encoding="utf-8").splitlines(), start=1))
    before = section = ""
    for number, line in lines:
        if opening := FENCE.match(line):
            body = []
            for _, inner in lines:
                if inner.strip() == opening["fence"]:
                    break
                body.append(inner)
            comment, title = COMMENT.match(before), TITLE.search(opening["options"])
            blocks.append(
                Block(
                    page=page,
                    line=number + 1,
                    section=section,
                    language=opening["language"],
                    title=title[1] if title else "",
                    comment=comment[1] if comment else "",
                    text="\n".join(body) + "\n",
                )
            )
        elif heading := HEADING.match(line):
            section = heading[1]
        before = line
    return blocks


def commands(page: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield place and words of every command of this package and of nnU-Net in fenced and in indented code.

    Brackets around optional arguments and variables before the command are dropped, comments and the prompt `$ ` of a
    transcript too; its messages, such as `ser-nnunet convert: 1 problem`, are no commands.
    """
    text = page.read_text(encoding="utf-8").replace("\\\n", " " * 2)
    command = r"(?:\w+=\S* )*(?:ser-nnunet(?! [\w-]+: )|nnUNetv2_).*"
    for line in re.findall(rf"^(?:    |\$ )?({command})$", text, re.MULTILINE):
        words = shlex.split(re.sub(r"[\[\]]", " ", line), comments=True)
        while "=" in words[0]:
            words.pop(0)
        if words[0].startswith(TOOLS) and words[0] != "ser-nnunet," and not words[0].endswith("`"):
            yield f"{page.relative_to(REPOSITORY)}: {line.strip()}", words


def section_text(page: Path, heading: str) -> str:
    """Return the text below a heading, up to the next one, without fenced code."""
    return re.split(r"^#+ .+$", _without_fences(page).partition(f"# {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def relative_links(page: Path) -> list[str]:
    """Return the targets of a page's links and images that lead to no other server."""
    text = _without_fences(page)
    targets = re.findall(r"\]\(([^)\s]+)[^)]*\)", text) + re.findall(r'(?:src|href)="([^"]+)"', text)
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings as GitHub makes them."""
    text = _without_fences(page)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    plain = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower().strip() for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


def _without_fences(page: Path) -> str:
    return re.sub(r"^(```+).*?^\1$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
