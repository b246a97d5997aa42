"""Write one case into nnU-Net's folders: copy what is right already, write the rest."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import SimpleITK as sitk
from ser_nnunet.dataset_conversion.core.case_checks import Facts
from ser_nnunet.dataset_conversion.core.data_classes import LABEL, Case, Description
from ser_nnunet.dataset_conversion.core.geometry import Grid
from ser_nnunet.dataset_conversion.core.readers import checksum, fingerprint
from ser_nnunet.dataset_conversion.core.standardize import prepare_image, prepare_label

FILE_ENDING = ".nii.gz"
FOLDERS = {"train": ("imagesTr", "labelsTr"), "test": ("imagesTs", "labelsTs")}


@dataclass(frozen=True)
class Job:
    """A case that passed all checks, with what they found out, and the folder to write into."""

    case: Case
    description: Description
    facts: tuple[Facts, ...]
    folder: Path


def target_of(case: Case, role: str) -> str:
    """Path below the data set's folder for one volume of a case."""
    images, labels = FOLDERS[case.split]
    if role == LABEL:
        return f"{labels}/{case.name}{FILE_ENDING}"
    return f"{images}/{case.name}_{list(case.images).index(role):04d}{FILE_ENDING}"


def write_case(job: Job) -> dict[str, str]:
    """Write all volumes of a case; return the SHA-256 of every file written, by its path below the folder."""
    written = {}
    first = next(iter(job.case.images))
    grid = next(facts.grid for facts in job.facts if facts.role == first)
    for facts in sorted(job.facts, key=lambda facts: list(job.case.volumes()).index(facts.role)):
        name = target_of(job.case, facts.role)
        target = job.folder / name
        target.parent.mkdir(exist_ok=True)
        if facts.changes:
            image = _prepared(job, facts.role, None if facts.role == first else grid)
            written[name] = _write(image, target, facts)
        else:
            written[name] = _copy(job.case.volumes()[facts.role].path, target, facts)
    return written


def _copy(source: Path, target: Path, facts: Facts) -> str:
    """Copy a file and return its SHA-256; raises `OSError` if its bytes are not those that were checked."""
    digest = hashlib.sha256()
    with source.open("rb") as reading, target.open("wb") as writing:
        while block := reading.read(1 << 20):
            digest.update(block)
            writing.write(block)
    if digest.hexdigest() != facts.sources[str(source)]:
        raise _changed(source)
    return digest.hexdigest()


def _write(image: sitk.Image, target: Path, facts: Facts) -> str:
    """Write a file and return its SHA-256; raises `OSError` if its voxels are not those that were checked.

    It is read back, because ITK does not notice every disk that is full.
    """
    if fingerprint(sitk.GetArrayViewFromImage(image)) != facts.fingerprint:
        raise _changed(Path(next(iter(facts.sources))))
    try:
        sitk.WriteImage(image, str(target), useCompression=True)
        written = sitk.ReadImage(str(target))
    except RuntimeError as error:
        raise OSError(f"{target.name}: {error}") from None
    if fingerprint(sitk.GetArrayViewFromImage(written)) != facts.fingerprint:
        raise OSError(f"{target.name} was not written completely; is the disk full?")
    return checksum(target)


def _changed(source: Path) -> OSError:
    return OSError(f"{source} has changed since it was checked; convert again once nothing writes to it")


def _prepared(job: Job, role: str, grid: Grid | None) -> sitk.Image:
    volume = job.case.volumes()[role]
    if role == LABEL:
        return prepare_label(job.case, volume, job.description, grid).image
    return prepare_image(job.case, volume, grid).image
