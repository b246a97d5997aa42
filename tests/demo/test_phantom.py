"""The simulated cohort has MSLesSeg's layout, headers and tables, and depends on its seed alone."""

import csv
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

pytest.importorskip("nilearn")

from ser_nnunet.demo.anatomy import image_shape
from ser_nnunet.demo.phantom import enrol_patients, write_cohort

COARSE = 6.0  # mm; a scan takes a fraction of a second


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cohort")
    write_cohort(folder, patients=2, test_patients=1, spacing=COARSE, seed=7, progress=False)
    return folder


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rows(folder):
    with (folder / "info_dataset" / "clinical_data.csv").open(newline="") as table:
        return list(csv.reader(table, delimiter=";"))


def test_files_are_named_as_in_mslesseg(cohort):
    train = [
        f"train/P{p}/T{t}/P{p}_T{t}_{c}" for p, t in ((1, 1), (2, 1), (2, 2)) for c in ("FLAIR", "T1", "T2", "MASK")
    ]
    test = [f"test/P54/P54_{c}" for c in ("FLAIR", "T1", "T2", "MASK")]
    assert set(files(cohort)) == {f"{name}.nii.gz" for name in train + test} | {"info_dataset/clinical_data.csv"}


def test_files_depend_on_the_seed_and_on_nothing_else(cohort, tmp_path):
    write_cohort(tmp_path / "same", patients=2, test_patients=1, spacing=COARSE, seed=7, progress=False)
    assert files(tmp_path / "same") == files(cohort)
    write_cohort(tmp_path / "other", patients=1, test_patients=0, spacing=COARSE, seed=8, progress=False)
    image = "train/P1/T1/P1_T1_FLAIR.nii.gz"
    assert (tmp_path / "other" / image).read_bytes() != (cohort / image).read_bytes()


def test_a_larger_cohort_contains_a_smaller_one(cohort, tmp_path):
    write_cohort(tmp_path, patients=1, test_patients=0, spacing=COARSE, seed=7, progress=False)
    small, large = files(tmp_path), files(cohort)
    assert all(large[name] == content for name, content in small.items() if name.endswith(".nii.gz"))


def test_headers_are_float32_las_with_mslessegs_field_of_view(cohort):
    for path in cohort.rglob("*.nii.gz"):
        image = sitk.ReadImage(str(path))
        assert image.GetPixelID() == sitk.sitkFloat32
        assert image.GetSpacing() == pytest.approx((COARSE,) * 3)
        assert image.GetDirection() == pytest.approx((1, 0, 0, 0, -1, 0, 0, 0, 1))
        # MSLesSeg's first voxel of 1 mm is centred at RAS (90, -126, -72): its outer corner is half a voxel away.
        corner = image.TransformContinuousIndexToPhysicalPoint((-0.5, -0.5, -0.5))
        assert corner == pytest.approx((-90.5, 126.5, -72.5), abs=1e-4)
    assert image_shape(1.0) == (182, 218, 182)


def test_masks_are_zeros_and_ones_and_agree_with_the_clinical_table(cohort):
    header, *table = rows(cohort)
    assert header == ["Patient", "Timepoint", "Age", "Sex", "MS Type", "EDSS", "Lesion Number", "Lesion Volume", ""]
    assert [(row[0], row[1]) for row in table] == [("P1", "T1"), ("P2", "T1"), ("P2", "T2"), ("P54", "T1")]
    for row in table:
        stem = row[0] if row[0] == "P54" else f"{row[0]}_{row[1]}"
        (path,) = cohort.rglob(f"{stem}_MASK.nii.gz")
        mask = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
        assert set(np.unique(mask)) == {0.0, 1.0}
        assert float(row[7]) == mask.sum()
        assert row[6] == ""
        assert (
            int(row[8])
            == sitk.GetArrayFromImage(
                sitk.ConnectedComponent(sitk.Cast(sitk.ReadImage(str(path)), sitk.sitkUInt8), True)
            ).max()
        )
        assert "." not in row[2] and 18 <= float(row[2].replace(",", ".")) < 80


@pytest.mark.data
def test_the_clinical_table_has_the_format_of_the_real_one(cohort, real_data):
    with (real_data / "mslesseg" / "info_dataset" / "clinical_data.csv").open(newline="") as table:
        real_header, *real = csv.reader(table, delimiter=";")
    header, *table = rows(cohort)
    assert header == real_header
    assert {len(row) for row in table} == {len(row) for row in real}
    for row in table:
        assert row[4] in {r[4] for r in real} and row[3] in {r[3] for r in real}


def test_a_cohort_larger_than_mslesseg_keeps_patient_names_unique():
    names = [patient.name for patient in enrol_patients(60, 3, seed=0)]
    assert names[-3:] == ["P61", "P62", "P63"]
    assert len(set(names)) == 63


def test_test_patients_have_the_numbers_of_mslesseg():
    assert [patient.name for patient in enrol_patients(2, 2, seed=0)] == ["P1", "P2", "P54", "P55"]


@pytest.mark.parametrize("wrong", [{"patients": 0}, {"test_patients": -1}, {"spacing": 0.0}])
def test_impossible_cohorts_are_refused_before_anything_is_written(tmp_path, wrong):
    with pytest.raises(ValueError, match="at least one patient"):
        write_cohort(tmp_path / "cohort", **wrong)
    assert not (tmp_path / "cohort").exists()
