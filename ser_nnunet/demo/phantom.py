"""A simulated cohort in the layout of MSLesSeg, for demonstrations, tests and benchmarks without data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage
from tqdm import tqdm

from ser_nnunet.demo.anatomy import CORNER, load_template
from ser_nnunet.demo.patient import Person, Scan, draw_person, simulate_scans

VISITS = (1, 2, 1, 3, 1, 1, 2, 1, 4, 1)
"""Time points of the first training patients, then over again: about MSLesSeg's shares (28, 15, 5 and 5 of 53)."""

FIRST_TEST_PATIENT = 54
"""MSLesSeg's test patients are P54 to P75; a cohort of more training patients counts on."""

WORKERS = 2
"""Patients simulated at a time, in threads: the heavy parts of numpy and scipy let go of the interpreter."""

CLINICAL_HEADER = "Patient;Timepoint;Age;Sex;MS Type;EDSS;Lesion Number;Lesion Volume;"
"""As in MSLesSeg: the lesion count stands in an unnamed ninth column and "Lesion Number" stays empty."""


@dataclass(frozen=True)
class Enrolled:
    """A patient's name, folder below the cohort, number of scans and own source of chance."""

    name: str
    split: str
    visits: int
    rng: np.random.Generator


def write_cohort(
    folder: str | Path,
    patients: int = 12,
    test_patients: int = 4,
    spacing: float = 2.5,
    seed: int = 0,
    progress: bool = True,
) -> list[Path]:
    """Write a cohort of simulated MS patients exactly as MSLesSeg comes: the same seed writes the same files.

    The anatomy is the MNI152 template, deformed for each patient; signal, lesions and patients are invented, so no
    figure measured here says anything about real scans. A patient depends on the seed and their number alone: a larger
    cohort begins with the smaller one's training patients.

        folder/train/P1/T1/P1_T1_{FLAIR,T1,T2,MASK}.nii.gz    some patients with 2, 3 or 4 time points
        folder/test/P54/P54_{FLAIR,T1,T2,MASK}.nii.gz         one scan each, no time-point folder
        folder/info_dataset/clinical_data.csv                 "Lesion Volume" is the voxel count of the mask

    Images and masks are float32, LAS, and cover MSLesSeg's field of view (182 x 218 x 182 mm).

    Args:
        folder: where to write; created, and existing files of the same names are replaced.
        patients: training patients (time points follow VISITS, so there are more scans than patients).
        test_patients: test patients.
        spacing: voxel size in mm, the same in all directions; 1.0 is MSLesSeg's, 2 to 2.5 suits a CPU.
        seed: of all chance.
        progress: show a progress bar.

    Returns:
        The paths of all masks written, training first.

    Raises:
        ValueError: no patient, or a voxel size outside 0.5 to 10 mm.
        ser_nnunet.errors.UserError: nilearn, which holds the template, isn't installed.
    """
    if patients < 1 or test_patients < 0 or not 0.5 <= spacing <= 10:
        raise ValueError(
            f"A cohort needs at least one patient and voxels of 0.5 to 10 mm, "
            f"got patients={patients}, test_patients={test_patients}, spacing={spacing}"
        )
    load_template()  # once, before threads ask for it at the same time
    root = Path(folder)
    enrolled = list(_enrol(patients, test_patients, seed))
    rows, masks = [CLINICAL_HEADER], []
    with (
        ThreadPoolExecutor(WORKERS) as pool,
        tqdm(total=sum(e.visits for e in enrolled), desc="simulated scans", unit="scan", disable=not progress) as bar,
    ):
        for written in pool.map(lambda patient: _write_patient(root, patient, spacing), enrolled):
            for mask, row in written:
                masks.append(mask)
                rows.append(row)
                bar.update()
    table = root / "info_dataset" / "clinical_data.csv"
    table.parent.mkdir(parents=True, exist_ok=True)
    table.write_text("\n".join(rows) + "\n", encoding="ascii")
    return masks


def _write_patient(root: Path, patient: Enrolled, spacing: float) -> list[tuple[Path, str]]:
    """Simulate and write all scans of a patient; return each one's mask and its row of the clinical table."""
    person = draw_person(patient.rng, patient.visits)
    scans = simulate_scans(patient.rng, patient.visits, spacing, person.age)
    return [
        (
            _write_scan(root / patient.split, patient, visit, scan, spacing),
            _clinical_row(patient.name, person, visit, scan),
        )
        for visit, scan in enumerate(scans)
    ]


def _enrol(patients: int, test_patients: int, seed: int) -> Iterator[Enrolled]:
    first_test = max(FIRST_TEST_PATIENT, patients + 1)
    numbers: Iterable[tuple[str, int, int]] = [
        *(("train", number, VISITS[(number - 1) % len(VISITS)]) for number in range(1, patients + 1)),
        *(("test", number, 1) for number in range(first_test, first_test + test_patients)),
    ]
    for split, number, visits in numbers:
        yield Enrolled(f"P{number}", split, visits, np.random.default_rng([seed, number]))


def _write_scan(folder: Path, patient: Enrolled, visit: int, scan: Scan, spacing: float) -> Path:
    """Write a scan's four files; return the mask's path."""
    stem, place = patient.name, folder / patient.name
    if patient.split == "train":
        stem, place = f"{patient.name}_T{visit + 1}", place / f"T{visit + 1}"
    place.mkdir(parents=True, exist_ok=True)
    for channel, image in {**scan.images, "MASK": scan.mask}.items():
        sitk.WriteImage(_to_image(image, spacing), str(place / f"{stem}_{channel}.nii.gz"))
    return place / f"{stem}_MASK.nii.gz"


def _to_image(array: np.ndarray, spacing: float) -> sitk.Image:
    """Return an array `(x, y, z)` with LAS axes as an image in MSLesSeg's field of view."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.transpose(2, 1, 0)))
    image.SetSpacing((spacing,) * 3)
    # NIfTI's LAS is, in ITK's LPS world, a step to the left, to the front and upwards.
    image.SetDirection((1, 0, 0, 0, -1, 0, 0, 0, 1))
    right, back, low = CORNER
    image.SetOrigin((-(right - spacing / 2), -(back + spacing / 2), low + spacing / 2))
    return image


def _clinical_row(name: str, person: Person, visit: int, scan: Scan) -> str:
    _, lesions = ndimage.label(scan.mask, structure=np.ones((3, 3, 3)))
    age = _with_comma(person.age + person.years[visit])
    volume = float(scan.mask.sum())
    return f"{name};T{visit + 1};{age};{person.sex};{person.course};{_with_comma(person.edss)};;{volume:.1f};{lesions}"


def _with_comma(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".").replace(".", ",")
