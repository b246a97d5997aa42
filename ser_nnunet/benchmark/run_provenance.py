"""SAM's checkpoint and the package versions of every run; they should agree within a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from ser_nnunet.benchmark.provenance import PACKAGES
from ser_nnunet.benchmark.runs import NOT_RECORDED, Run
from ser_nnunet.errors import UserError
from ser_nnunet.utils.hashing import file_sha256
from ser_nnunet.utils.variables import SAM_CHECKPOINT

UNGUIDED = {"sam_file": None, "sam_sha256": None}


def list_versions() -> str:
    """Return the packages' versions: `ser-nnunet 0.1, torch 2.5, nnunetv2 2.6`."""
    return ", ".join(f"{package} {version(package)}" for package in PACKAGES)


def record_sam(checkpoint: str) -> dict[str, str]:
    """Return `sam_file` (its name) and `sam_sha256`, because the file behind a path may change."""
    file = Path(checkpoint).expanduser()
    return {"sam_file": file.name, "sam_sha256": file_sha256(file)}


def refuse_other_sam(runs: Iterable[Run], sam: dict[str, str]) -> None:
    """Refuse to guide further runs by another SAM than those that have begun.

    Args:
        runs: all runs of the output folder.
        sam: what `record_sam` returned.

    Raises:
        UserError: naming every run with another SAM.
    """
    others = [run for run in runs if run.record.get("sam_sha256") not in (None, sam["sam_sha256"])]
    found = {run: format_sam(run.record) for run in others}
    refuse_runs(f"were guided by another SAM than {format_sam(sam)}", found, f"set {SAM_CHECKPOINT} to the same file")


def refuse_runs(fault: str, found: Mapping[Run, str], remedy: str) -> None:
    """Raise `UserError` with the runs, and what was found in each, if there are any.

    Args:
        fault: ends "runs in this folder ...".
        found: run -> what it was made with.
        remedy: an imperative that keeps the runs.
    """
    if found:
        listed = "\n".join(f"  {run.folder}: {text}" for run, text in found.items())
        raise UserError(
            f"runs in this folder {fault}:\n{listed}\n{remedy}, choose another -o, or delete these runs' folders"
        )


def describe_sam(runs: Sequence[Run]) -> str:
    """Return which SAM guided the runs, as text; `none` if none was guided."""
    used = {format_sam(run.record) for run in runs if run.record.get("sam_sha256")}
    unknown = all("sam_sha256" not in run.record for run in runs)
    return "; ".join(sorted(used)) or (NOT_RECORDED if unknown else "none")


def note_versions(runs: Sequence[Run]) -> list[str]:
    """Return a sentence for the tables where the runs were not all made with the same versions; else nothing."""
    found = {run.title: " then ".join(run.software) for run in runs}
    if len(set(found.values())) == 1 and all(len(run.software) == 1 for run in runs):
        return []
    listed = "; ".join(f"{name}: {versions}" for name, versions in found.items())
    return [f"**The runs' recorded versions are not the same**, which may explain differences between them: {listed}."]


def format_sam(record: dict[str, str]) -> str:
    """Return the file's name and the first 12 digits of its SHA-256."""
    return f"{record['sam_file']} (SHA-256 {record['sam_sha256'][:12]})"
