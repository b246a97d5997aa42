"""The tracked and new files of the checkout, and copies of them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.conftest import REPOSITORY


def repository_files(*patterns: str) -> list[str]:
    """Return the names of all files that git tracks or would track."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns]
    listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    return [name for name in listed.splitlines() if (REPOSITORY / name).is_file()]


def copy_repository(folder: Path) -> Path:
    """Copy those files into a new folder, so that nothing that a test does there changes the checkout; return it."""
    for name in repository_files():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(REPOSITORY / name, folder / name)
    return folder


def copy_package(folder: Path) -> Path:
    """Copy the package's files into `folder` as they lie in a wheel, and return its folder there."""
    package = folder / "ser_nnunet"
    for name in repository_files("ser_nnunet", "trainers", "dataset_conversion"):
        target = folder / name if name.startswith("ser_nnunet/") else package / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(REPOSITORY / name, target)
    return package
