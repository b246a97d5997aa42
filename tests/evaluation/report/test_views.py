"""Which slice and window of a case is shown, and what its outlines are."""

import nibabel
import numpy as np
import pytest
import tifffile

from ser_nnunet.errors import UserError
from ser_nnunet.evaluation.case_files import CaseFiles
from ser_nnunet.evaluation.report.views import find_outlines, view_case
from tests.evaluation.cohort import write_volume

LESION = {"lesion": 1}


def write_case(folder, reference, prediction, spacing=(1.0, 1.0, 1.0), image=None):
    for name, array in (("reference", reference), ("prediction", prediction), ("image", image)):
        if array is not None:
            write_volume(folder / f"{name}.nii.gz", array, spacing)
    shown = folder / "image.nii.gz" if image is not None else None
    return CaseFiles("a", folder / "reference.nii.gz", {"ours": folder / "prediction.nii.gz"}, shown)


def test_the_slice_with_most_disagreement_is_shown(tmp_path):
    reference, prediction = np.zeros((2, 6, 30, 30), np.uint8)
    reference[1, 5:20, 5:20] = prediction[1, 5:20, 5:20] = 1  # the largest area, but no disagreement
    reference[4, 10:14, 10:14] = 1  # missed
    view = view_case(write_case(tmp_path, reference, prediction), LESION)
    assert view.where == "axial slice 5 of 6"
    assert view.reference["lesion"].sum() == 16 and not view.predictions["ours"]["lesion"].any()


def test_files_that_itk_refuses_are_shown(tmp_path):
    """NIfTI with a sheared affine, which nibabel reads, and TIFF with 64-bit numbers."""
    maps = np.zeros((2, 6, 30, 20), np.int64)
    maps[0, 4, 10:14, 5:8] = 1  # missed
    affine = np.array([[-1, 0.3, 0, 0], [0, -1, 0, 0], [0, 0, 1.0, 0], [0, 0, 0, 1]])
    for number, name in enumerate(("reference", "prediction")):
        nibabel.save(nibabel.Nifti1Image(maps[number].T.astype(np.uint8), affine), tmp_path / f"{name}.nii.gz")
        tifffile.imwrite(tmp_path / f"{name}.tif", maps[number])
    for ending in (".nii.gz", ".tif"):
        files = [tmp_path / f"{name}{ending}" for name in ("reference", "prediction")]
        view = view_case(CaseFiles("a", files[0], {"ours": files[1]}), LESION)
        assert view.where == "axial slice 5 of 6" and np.array_equal(view.reference["lesion"], maps[0, 4] == 1)


def test_a_damaged_tiff_file_is_named(tmp_path):
    file = tmp_path / "a.tif"
    tifffile.imwrite(file, np.zeros((6, 30, 20), np.int64))
    file.write_bytes(file.read_bytes()[:300])
    with pytest.raises(UserError, match=r"a\.tif cannot be read \("):
        view_case(CaseFiles("a", file, {"ours": file}), LESION)


def test_without_disagreement_the_slice_with_most_foreground_is_shown(tmp_path):
    reference = np.zeros((6, 30, 30), np.uint8)
    reference[1, 5:8, 5:8] = reference[3, 5:20, 5:20] = 1
    view = view_case(write_case(tmp_path, reference, reference), LESION)
    assert view.where == "axial slice 4 of 6"


def test_thick_slices_are_cut_as_acquired_with_the_head_on_top(tmp_path):
    reference = np.zeros((20, 6, 20), np.uint8)  # coronal: 4 mm along y
    reference[15, 2, 3] = 1  # near the head
    view = view_case(write_case(tmp_path, reference, reference, (1.0, 4.0, 1.0)), LESION)
    assert view.where == "coronal slice 3 of 6"
    assert np.argwhere(view.reference["lesion"]).tolist() == [[4, 3]]  # fifth row from the top


def test_ignored_voxels_are_neither_disagreement_nor_shown(tmp_path):
    reference, prediction = np.zeros((2, 6, 30, 30), np.uint8)
    reference[1, 5:20, 5:20], prediction[1, 5:20, 5:20] = 2, 1  # to be ignored
    reference[4, 10, 10] = 1
    view = view_case(write_case(tmp_path, reference, prediction), LESION, ignore=2)
    assert view.where == "axial slice 5 of 6"


def test_the_window_contains_the_disagreement(tmp_path):
    reference, prediction = np.zeros((2, 1, 200, 200), np.uint8)
    reference[0, 150:160, 20:30] = 1  # missed
    reference[0, 20:24, 170:174] = prediction[0, 20:24, 170:174] = 1  # agreed upon, far away
    view = view_case(write_case(tmp_path, reference, prediction), LESION)
    rows, columns = view.window
    assert rows.start <= 150 and rows.stop >= 160 and columns.start <= 20 and columns.stop >= 30
    assert rows.stop - rows.start == columns.stop - columns.start <= 100


def test_an_image_of_another_grid_is_refused(tmp_path):
    case = write_case(tmp_path, *np.zeros((2, 6, 9, 9), np.uint8), image=np.zeros((5, 9, 9), np.float32))
    with pytest.raises(UserError, match=r"image\.nii\.gz has"):
        view_case(case, LESION)


def test_a_prediction_of_another_size_is_refused(tmp_path):
    case = write_case(tmp_path, np.zeros((6, 9, 9), np.uint8), np.zeros((6, 9, 1), np.uint8))
    with pytest.raises(UserError, match=r"prediction\.nii\.gz has"):
        view_case(case, LESION)


def test_outlines_enclose_the_pixels():
    mask = np.zeros((5, 6), bool)
    mask[1:3, 2:5] = True
    (line,) = find_outlines(mask)
    assert line[0].tolist() == line[-1].tolist()  # closed
    assert (line.min(axis=0).tolist(), line.max(axis=0).tolist()) == ([2, 1], [5, 3])
    assert find_outlines(np.zeros((3, 3), bool)) == []
