"""What the documentation site takes from outside docs/: README, changelog, licence, citation, and the sources."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files

REPOSITORY = Path(__file__).resolve().parent.parent
MIRRORED = {"index.md": "README.md", "changelog.md": "CHANGELOG.md"}
"""Pages whose text is a file at the top of the repository."""

MAPPED = ("trainers", "dataset_conversion")
"""Folders at the top of the repository that are packages inside ser_nnunet (pyproject.toml, package-dir)."""

_sources: TemporaryDirectory[str] | None = None


@event_priority(100)  # before mkdocstrings reads its paths
def on_config(config: MkDocsConfig) -> None:
    """Let mkdocstrings read a copy of the sources in which every module lies where it is imported from."""
    global _sources
    _sources = TemporaryDirectory()
    package = Path(_sources.name) / "ser_nnunet"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPOSITORY / "ser_nnunet", package, ignore=ignored)
    for name in MAPPED:
        shutil.copytree(REPOSITORY / name, package / name, ignore=ignored)
    handlers: dict[str, Any] = config.plugins["mkdocstrings"].config["handlers"]
    handlers["python"]["paths"] = [_sources.name]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files that README.md links to."""
    for name in ("LICENSE", "CITATION.cff"):
        files.append(File.generated(config, name, abs_src_path=str(REPOSITORY / name)))
    return files


def on_page_markdown(markdown: str, page: Any, config: MkDocsConfig, files: Files) -> str:
    """Return the mirrored file's text, with its links to docs/ adapted to the page's place."""
    name = page.file.src_uri
    if name in MIRRORED:
        markdown = (REPOSITORY / MIRRORED[name]).read_text(encoding="utf-8")
        return re.sub(r'(\]\(|src=")docs/', r"\1", markdown)
    return re.sub(r"\]\((\.\./)+README\.md(#[^)]*)?\)", r"](index.md\2)", markdown)


def on_shutdown() -> None:
    """Remove the copy of the sources."""
    if _sources is not None:
        _sources.cleanup()
