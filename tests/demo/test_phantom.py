"""The phantom must be what MSLesSeg is to a converter, and learnable for the right reason."""

import csv
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

pytest.importorskip("nilearn")

from ser_nnunet.demo.anatomy import WHITE, block_mean, image_shape
from ser_nnunet.demo.patient import simulate_scans
from ser_nnunet.demo.phantom import FIRST_TEST_PATIENT, write_cohort

COARSE = 6.0  # mm; a scan takes a fraction of a second


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cohort")
    write_cohort(folder, patients=2, test_patients=1, spacing=COARSE, seed=7, progress=False)
    return folder


@pytest.fixture(scope="module")
def scans():
    return simulate_scans(np.random.default_rng(1), visits=3, spacing=3.0)


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rows(folder):
    with (folder / "info_dataset" / "clinical_data.csv").open(newline="") as table:
        return list(csv.reader(table, delimiter=";"))


def test_it_lies_as_mslesseg_lies(cohort):
    train = [
        f"train/P{p}/T{t}/P{p}_T{t}_{c}" for p, t in ((1, 1), (2, 1), (2, 2)) for c in ("FLAIR", "T1", "T2", "MASK")
    ]
    test = [f"test/P54/P54_{c}" for c in ("FLAIR", "T1", "T2", "MASK")]
    assert set(files(cohort)) == {f"{name}.nii.gz" for name in train + test} | {"info_dataset/clinical_data.csv"}


def test_same_seed_same_files_and_another_seed_others(cohort, tmp_path):
    write_cohort(tmp_path / "same", patients=2, test_patients=1, spacing=COARSE, seed=7, progress=False)
    assert files(tmp_path / "same") == files(cohort)
    write_cohort(tmp_path / "other", patients=1, test_patients=0, spacing=COARSE, seed=8, progress=False)
    image = "train/P1/T1/P1_T1_FLAIR.nii.gz"
    assert (tmp_path / "other" / image).read_bytes() != (cohort / image).read_bytes()


def test_a_smaller_cohort_is_the_beginning_of_a_larger_one(cohort, tmp_path):
    write_cohort(tmp_path, patients=1, test_patients=0, spacing=COARSE, seed=7, progress=False)
    small, large = files(tmp_path), files(cohort)
    assert all(large[name] == content for name, content in small.items() if name.endswith(".nii.gz"))


def test_headers_are_float32_las_on_mslessegs_field_of_view(cohort):
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
def test_the_clinical_table_reads_like_the_real_one(cohort, real_data):
    with (real_data / "mslesseg" / "info_dataset" / "clinical_data.csv").open(newline="") as table:
        real_header, *real = csv.reader(table, delimiter=";")
    header, *table = rows(cohort)
    assert header == real_header
    assert {len(row) for row in table} == {len(row) for row in real}
    for row in table:
        assert row[4] in {r[4] for r in real} and row[3] in {r[3] for r in real}


def test_lesions_lie_in_white_matter_and_are_bright_on_flair(scans):
    for scan in scans:
        mask = scan.mask > 0
        white = scan.brain.fraction(WHITE)
        assert mask.sum() > 20
        assert white[mask].mean() > 0.8
        flair = scan.images["FLAIR"]
        assert np.median(flair[mask]) > 1.15 * np.median(flair[(white > 0.95) & ~mask])


def test_most_lesions_are_near_the_ventricles(scans):
    distance = block_mean(scans[0].brain.ventricle_distance)
    white = scans[0].brain.fraction(WHITE) > 0.9
    assert np.median(distance[scans[0].mask > 0]) < np.median(distance[white]) / 2


def test_bright_spots_that_are_no_lesions_are_there_and_not_labelled(scans):
    for scan in scans:
        spots = scan.distractors > 0.4
        assert spots.sum() > 20
        assert not (spots & (scan.mask > 0)).any()


def test_lesions_persist_and_grow_in_number_or_size(scans):
    first, last = scans[0].mask > 0, scans[-1].mask > 0
    assert (first & last).sum() > 0.7 * first.sum()
    assert last.sum() > first.sum()


def test_edges_of_lesions_are_partial_volume(scans):
    from scipy.ndimage import binary_erosion

    mask = scans[0].mask > 0
    core = binary_erosion(mask)
    flair = scans[0].images["FLAIR"]
    assert np.median(flair[mask & ~core]) < 0.95 * np.median(flair[core])


def test_a_cohort_larger_than_mslesseg_keeps_patient_names_unique():
    from ser_nnunet.demo.phantom import _enrol

    names = [patient.name for patient in _enrol(60, 3, seed=0)]
    assert names[-3:] == ["P61", "P62", "P63"]
    assert len(set(names)) == 63
    assert FIRST_TEST_PATIENT == 54


@pytest.mark.parametrize("wrong", [{"patients": 0}, {"test_patients": -1}, {"spacing": 0.0}])
def test_impossible_cohorts_are_refused_before_anything_is_written(tmp_path, wrong):
    with pytest.raises(ValueError, match="at least one patient"):
        write_cohort(tmp_path / "cohort", **wrong)
    assert not (tmp_path / "cohort").exists()
