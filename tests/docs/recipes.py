"""Following a recipe of docs/contributing.md literally: its files are written and its commands run in a copy."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from ser_nnunet.sam.dummy_sam import write_dummy_sam
from tests.conftest import REPOSITORY
from tests.docs.markdown_pages import Block, code_blocks, section_text
from tests.sources import copy_repository

PAGE = REPOSITORY / "docs" / "contributing.md"
MAPPED = ("trainers", "dataset_conversion")  # imported as ser_nnunet.NAME (pyproject.toml, package-dir)


def recipe_blocks(recipe: str) -> list[Block]:
    """Return the code blocks below a recipe's heading."""
    return [block for block in code_blocks(PAGE) if block.section == recipe]


def files_to_touch(recipe: str) -> list[str]:
    """Return the files that the recipe's first paragraph, `Files: ...`, names."""
    paragraph = section_text(PAGE, recipe).strip().split("\n\n")[0]
    assert paragraph.startswith("Files: "), f"{recipe}: the first paragraph must name the files"
    return re.findall(r"`([^`]+)`", paragraph)


class Checkout:
    """A copy of the repository, from which Python imports the package, with nnU-Net's folders and a dummy SAM."""

    def __init__(self, folder: Path) -> None:
        self.folder = copy_repository(folder / "checkout")
        self.links = [self.folder / "ser_nnunet" / name for name in MAPPED]
        for link in self.links:
            link.symlink_to(self.folder / link.name)
        nnunet = {name: folder / name for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")}
        for path in nnunet.values():
            path.mkdir()
        self.environment = {
            **os.environ,
            **{name: str(path) for name, path in nnunet.items()},
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PYTHONPATH": str(self.folder),
            "nnUNet_extTrainer": str(self.folder / "trainers"),
            "SER_SAM_CHECKPOINT": str(write_dummy_sam(folder / "dummy_sam.pth")),
        }

    def follow(self, blocks: list[Block]) -> None:
        """Write every block's file, apply every change, run every command and compare what it prints."""
        output = ""
        for block in blocks:
            if block.language == "bash":
                output = self.run(block)
            elif block.language == "text":
                shown = {" ".join(line.split()) for line in output.splitlines()}
                missing = [line for line in block.text.splitlines() if not any(_is_in(line, other) for other in shown)]
                assert missing == [], f"{block.place}: these lines were not printed, but\n{output}"
            elif block.language == "diff":
                self.change(block)
            else:
                assert block.title, f"{block.place}: name the file with title="
                file = self.folder / block.title
                file.parent.mkdir(parents=True, exist_ok=True)
                before = file.read_text(encoding="utf-8") + "\n\n" if file.exists() else ""
                file.write_text(before + block.text, encoding="utf-8")

    def lint(self, files: list[str]) -> None:
        """Check rules and format of files as in a checkout, where the mapped packages lie outside ser_nnunet/."""
        for link in self.links:
            link.unlink()
        for command in (["check"], ["format", "--check"]):
            ruff = [sys.executable, "-m", "ruff", *command, *files]
            done = subprocess.run(ruff, cwd=self.folder, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr

    def run(self, block: Block) -> str:
        """Run a block's commands; return what they print."""
        command = ["bash", "-euo", "pipefail", "-c", block.text]
        done = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{block.place} failed:\n{done.stdout}{done.stderr}"
        return done.stdout

    def change(self, block: Block) -> None:
        """Replace the context and removed lines (-) of a diff by its context and added lines (+)."""
        file, lines = self.folder / block.title, block.text.splitlines()
        before = "\n".join(line[1:] for line in lines if not line.startswith("+"))
        after = "\n".join(line[1:] for line in lines if not line.startswith("-"))
        text = file.read_text(encoding="utf-8")
        assert text.count(before) == 1, f"{block.place}: {block.title} must hold these lines once:\n{before}"
        file.write_text(text.replace(before, after), encoding="utf-8")


def _is_in(line: str, printed: str) -> bool:
    return " ".join(line.split()) in printed
