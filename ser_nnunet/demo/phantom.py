"""A simulated cohort of MS patients in the layout of MSLesSeg, for demonstrations, tests and benchmarks."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage
from tqdm import tqdm

from ser_nnunet.demo.anatomy import CORNER, load_template
from ser_nnunet.demo.patient import ClinicalData, Scan, draw_clinical_data, simulate_scans

VISITS = (1, 2, 1, 3, 1, 1, 2, 1, 4, 1)
"""Time points of the training patients, repeated: about MSLesSeg's shares (28, 15, 5 and 5 of 53 patients)."""

FIRST_TEST_PATIENT = 54
"""MSLesSeg's test patients are P54 to P75; with more than 53 training patients, the numbers follow theirs."""

WORKERS = 2
"""Threads, each with one patient: the expensive parts of numpy and scipy release the interpreter's lock."""

CLINICAL_HEADER = "Patient;Timepoint;Age;Sex;MS Type;EDSS;Lesion Number;Lesion Volume;"
"""As in MSLesSeg: the lesion count is in an unnamed ninth column and "Lesion Number" is empty."""


@dataclass(frozen=True)
class CohortMember:
    """A patient's name, part of the data set (`train` or `test`), number of scans, and random number generator."""

    name: str
    split: str
    visits: int
    rng: np.random.Generator


def enrol_patients(patients: int, test_patients: int, seed: int) -> list[CohortMember]:
    """Return the members of a cohort, training patients first; each one depends on the seed and its number alone."""
    first_test = max(FIRST_TEST_PATIENT, patients + 1)
    numbers = [
        *(("train", number, VISITS[(number - 1) % len(VISITS)]) for number in range(1, patients + 1)),
        *(("test", number, 1) for number in range(first_test, first_test + test_patients)),
    ]
    return [
        CohortMember(f"P{number}", split, visits, np.random.default_rng([seed, number]))
        for split, number, visits in numbers
    ]


def write_cohort(
    folder: str | Path,
    patients: int = 12,
    test_patients: int = 4,
    spacing: float = 2.5,
    seed: int = 0,
    progress: bool = True,
) -> list[Path]:
    """Write a cohort of simulated MS patients in the layout of MSLesSeg; the same seed gives the same files.

    The anatomy is the MNI152 template, deformed for each patient; signal, lesions and patients are invented, so that
    results on the cohort do not carry over to real scans. A patient depends on the seed and the patient's number alone:
    a larger cohort contains the training patients of a smaller one.

        folder/train/P1/T1/P1_T1_{FLAIR,T1,T2,MASK}.nii.gz    some patients with 2, 3 or 4 time points
        folder/test/P54/P54_{FLAIR,T1,T2,MASK}.nii.gz         one scan each, no time-point folder
        folder/info_dataset/clinical_data.csv                 "Lesion Volume" is the voxel count of the mask

    Images and masks are float32, LAS, and cover MSLesSeg's field of view (182 x 218 x 182 mm).

    Args:
        folder: where to write; created, and existing files of the same names are replaced.
        patients: number of training patients (time points follow VISITS, so there are more scans than patients).
        test_patients: number of test patients.
        spacing: isotropic voxel size in mm; 1.0 is MSLesSeg's, 2 to 2.5 is suited to a CPU.
        seed: of the random numbers.
        progress: whether to show a progress bar.

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
    load_template()  # before the threads start, which would each load it
    root = Path(folder)
    members = enrol_patients(patients, test_patients, seed)
    rows, masks = [CLINICAL_HEADER], []
    with (
        ThreadPoolExecutor(WORKERS) as pool,
        tqdm(
            total=sum(member.visits for member in members), desc="simulated scans", unit="scan", disable=not progress
        ) as bar,
    ):
        for written in pool.map(lambda member: _write_patient(root, member, spacing), members):
            for mask, row in written:
                masks.append(mask)
                rows.append(row)
                bar.update()
    table = root / "info_dataset" / "clinical_data.csv"
    table.parent.mkdir(parents=True, exist_ok=True)
    table.write_text("\n".join(rows) + "\n", encoding="ascii")
    return masks


def _write_patient(root: Path, member: CohortMember, spacing: float) -> list[tuple[Path, str]]:
    """Simulate and write all scans of a patient; return each one's mask and its row of the clinical table."""
    clinical = draw_clinical_data(member.rng, member.visits)
    written = []
    for visit, scan in enumerate(simulate_scans(member.rng, member.visits, spacing, clinical.age)):
        folder, stem = root / member.split / member.name, member.name
        if member.split == "train":
            folder, stem = folder / f"T{visit + 1}", f"{stem}_T{visit + 1}"
        folder.mkdir(parents=True, exist_ok=True)
        for channel, image in {**scan.images, "MASK": scan.mask}.items():
            sitk.WriteImage(_to_image(image, spacing), str(folder / f"{stem}_{channel}.nii.gz"))
        written.append((folder / f"{stem}_MASK.nii.gz", _clinical_row(member.name, clinical, visit, scan)))
    return written


def _to_image(array: np.ndarray, spacing: float) -> sitk.Image:
    """Return an array `(x, y, z)` with LAS axes as an image in MSLesSeg's field of view."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.transpose(2, 1, 0)))
    image.SetSpacing((spacing,) * 3)
    # In ITK's LPS coordinates, LAS axes point to the left, to the front and upwards.
    image.SetDirection((1, 0, 0, 0, -1, 0, 0, 0, 1))
    right, back, low = CORNER
    image.SetOrigin((-(right - spacing / 2), -(back + spacing / 2), low + spacing / 2))
    return image


def _clinical_row(name: str, clinical: ClinicalData, visit: int, scan: Scan) -> str:
    _, lesions = ndimage.label(scan.mask, structure=np.ones((3, 3, 3)))
    age, edss = (
        f"{value:.2f}".rstrip("0").rstrip(".").replace(".", ",")  # decimal commas, as in the original
        for value in (clinical.age + clinical.years[visit], clinical.edss)
    )
    return f"{name};T{visit + 1};{age};{clinical.sex};{clinical.course};{edss};;{scan.mask.sum():.1f};{lesions}"
