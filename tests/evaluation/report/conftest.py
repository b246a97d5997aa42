"""Evaluations that the tests of the report share."""

import numpy as np
import pytest

from ser_nnunet.evaluation import Settings, evaluate
from tests.evaluation.cohort import write_cohort, write_volume

LABELS = {"background": 0, "core <b>": 1, "rim": 2}  # a name that would break unescaped HTML


@pytest.fixture(scope="package")
def evaluation(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cohort")
    reference = np.zeros((6, 40, 40), np.uint8)
    reference[1:5, 10:20, 10:20], reference[1:5, 10:20, 20:24] = 1, 2
    reference[3, 30:32, 30:32] = 1
    good = {f"case_{shift}": np.roll(reference, shift, axis=1) for shift in range(10)}
    bad = {case: np.roll(array, 3, axis=2) for case, array in good.items()}
    bad["case_9"] = np.zeros_like(reference)
    write_cohort(folder, dict.fromkeys(good, reference), good, bad, labels=LABELS)
    for case in good:
        image = np.random.default_rng(0).normal(100, 5, reference.shape) + 50 * reference
        write_volume(folder / "imagesTr" / f"{case}_0000.nii.gz", image.astype(np.float32))
    return evaluate(
        folder / "labelsTr",
        folder / "pred0",
        compare=[folder / "pred1"],
        names=["ours", "theirs"],
        settings=Settings(bootstrap=100, lesion_classes="all"),
        processes=1,
        progress=False,
    )


@pytest.fixture(scope="package")
def shifted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cohort")
    reference = np.zeros((4, 40, 40), np.uint8)
    reference[1:3, 10:20, 10:20] = 1
    predictions = {f"case{shift}": np.roll(reference, shift, axis=2) for shift in range(5)}
    write_cohort(folder, dict.fromkeys(predictions, reference), predictions, labels={"background": 0, "lesion": 1})
    for case in predictions:
        image = np.random.default_rng(0).normal(100, 5, reference.shape) + 50 * reference
        write_volume(folder / "imagesTr" / f"{case}_0000.nii.gz", image.astype(np.float32))
    settings = Settings(groups=("overlap",), bootstrap=100)
    return evaluate(folder / "labelsTr", folder / "pred0", settings=settings, processes=1, progress=False)
