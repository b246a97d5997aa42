"""`evaluate` on files: equal to nnU-Net's own evaluation; every problem of the files is named in one message."""

import json
import multiprocessing.dummy

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from nnunetv2.evaluation.evaluate_predictions import compute_metrics, compute_metrics_on_folder
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

from ser_nnunet.errors import UserError
from ser_nnunet.evaluation import Settings, evaluate
from ser_nnunet.evaluation.evaluator import count_processes, name_methods
from ser_nnunet.evaluation.text_tables import format_summary
from ser_nnunet.utils import processes
from tests.evaluation.cohort import (
    FAST,
    IGNORE,
    LABELS,
    OVERLAP,
    REGIONS,
    random_label_map,
    write_cohort,
    write_volume,
)


@pytest.mark.parametrize(
    ("labels", "evaluated", "ignore", "values"),
    [
        (LABELS, {"anterior": 1, "posterior": 2}, None, 3),
        (REGIONS, {"whole": (1, 2), "posterior": (2,)}, None, 3),
        (IGNORE, {"anterior": 1, "posterior": 2}, 3, 4),
    ],
    ids=["labels", "regions", "ignore label"],
)
def test_dice_and_iou_equal_nnunets_own(tmp_path, labels, evaluated, ignore, values, monkeypatch):
    reference = {f"case{seed}": random_label_map(seed, values) for seed in range(3)}
    prediction = {f"case{seed}": random_label_map(seed + 10) for seed in range(3)}
    prediction["case2"][:] = 0  # nothing predicted
    folder = write_cohort(tmp_path, reference, prediction, labels=labels)

    ours = evaluate(folder / "labelsTr", folder / "pred0", settings=OVERLAP, **FAST)

    for case in reference:
        files = [str(folder / name / f"{case}.nii.gz") for name in ("labelsTr", "pred0")]
        theirs = compute_metrics(*files, SimpleITKIO(), list(evaluated.values()), ignore)["metrics"]
        for name, label in evaluated.items():
            for metric in ("Dice", "IoU"):
                assert ours.value(metric, case, name) == theirs[label][metric]
            voxel_ml = 0.8 * 1.0 * 2.5 / 1000
            assert ours.value("reference_ml", case, name) == pytest.approx(theirs[label]["n_ref"] * voxel_ml)
            assert ours.value("prediction_ml", case, name) == pytest.approx(theirs[label]["n_pred"] * voxel_ml)
    monkeypatch.setattr("multiprocessing.get_context", lambda method: multiprocessing.dummy)  # threads: no new imports
    means = compute_metrics_on_folder(
        *(str(folder / name) for name in ("labelsTr", "pred0")),
        None,
        SimpleITKIO(),
        ".nii.gz",
        list(evaluated.values()),
        ignore,
        num_processes=1,
    )["foreground_mean"]
    ours.write(tmp_path / "out")
    written = pd.read_csv(tmp_path / "out" / "summary.csv").set_index(["class", "metric"])["mean"]
    assert written["(mean of classes)", "Dice"] == pytest.approx(means["Dice"])
    assert "(mean of classes)  Dice" in format_summary(ours)


def test_empty_masks_follow_one_rule_in_every_metric(tmp_path):
    full, empty = np.zeros((5, 6, 7), np.uint8), np.zeros((5, 6, 7), np.uint8)
    full[2, 2:4, 2:4] = 1
    folder = write_cohort(
        tmp_path,
        {"both_empty": empty, "no_truth": empty, "no_prediction": full},
        {"both_empty": empty, "no_truth": full, "no_prediction": empty},
        labels={"background": 0, "lesion": 1},
    )
    cases = evaluate(folder / "labelsTr", folder / "pred0", **FAST).cases.set_index("case")
    fractions = ["Dice", "IoU", "NSD", "lesion_F1"]
    distances = ["HD_mm", "HD95_mm", "ASSD_mm"]
    found, true = ["sensitivity", "lesion_sensitivity"], ["precision", "lesion_precision"]
    assert cases.loc["both_empty", [*fractions, *distances, *found, *true]].isna().all()
    assert (cases.loc[["no_truth", "no_prediction"], fractions] == 0).all(axis=None)
    diagonal = np.sqrt((7 * 0.8) ** 2 + (6 * 1.0) ** 2 + (5 * 2.5) ** 2)
    assert np.allclose(cases.loc[["no_truth", "no_prediction"], distances].astype(float), diagonal)
    assert cases.loc["no_truth", found].isna().all() and (cases.loc["no_truth", true] == 0).all()
    assert cases.loc["no_prediction", true].isna().all() and (cases.loc["no_prediction", found] == 0).all()
    assert list(cases["volume_difference_ml"]) == pytest.approx([0, -0.008, 0.008])  # sorted by name

    undefined = Settings(empty_distance="undefined", bootstrap=100)
    cases = evaluate(folder / "labelsTr", folder / "pred0", settings=undefined, **FAST).cases
    assert cases[distances].isna().all(axis=None)


@pytest.mark.parametrize("processes", [1, 2])
def test_one_message_names_missing_files_grids_and_labels_of_every_method(tmp_path, processes):
    array, strange = random_label_map(0), random_label_map(0)
    strange[0, 0, 0] = 7
    good = dict.fromkeys("abcde", array)
    folder = write_cohort(tmp_path, good, good | {"c": strange}, good | {"c": strange, "b": strange})
    (folder / "pred0" / "a.nii.gz").unlink()
    write_volume(folder / "pred0" / "b.nii.gz", array[:-1])
    (folder / "pred1" / "d.nii.gz").write_bytes(b"no image")
    write_volume(folder / "pred1" / "x.nii.gz", array)
    with pytest.raises(UserError) as raised:
        evaluate(
            folder / "labelsTr",
            folder / "pred0",
            compare=[folder / "pred1"],
            settings=OVERLAP,
            processes=processes,
            progress=False,
        )
    message = str(raised.value)
    pred0, pred1 = folder / "pred0", folder / "pred1"
    for problem in (
        f"missing predictions in {pred0}: a (1)",
        f"extra predictions without a reference in {pred1}: x (1)",
        f"b: {pred0 / 'b.nii.gz'} has shape (11, 9, 5), expected (11, 9, 6) as in {folder / 'labelsTr' / 'b.nii.gz'}",
        f"b: {pred1 / 'b.nii.gz'} holds label 7",
        f"c: {pred0 / 'c.nii.gz'} holds label 7",
        f"c: {pred1 / 'c.nii.gz'} holds label 7",
        f"d: {pred1 / 'd.nii.gz'} cannot be read",
    ):
        assert message.count(problem) == 1
    assert message.count(" d: ") == 1 and "e.nii.gz" not in message


def test_an_unknown_label_is_named_for_every_method_and_the_reference(tmp_path):
    array, strange = random_label_map(0), random_label_map(0)
    strange[0, 0, 0] = 7
    folder = write_cohort(
        tmp_path, {"a": strange, "b": array}, {"a": strange, "b": strange}, {"a": array, "b": strange}
    )
    with pytest.raises(UserError) as raised:
        evaluate(folder / "labelsTr", folder / "pred0", compare=[folder / "pred1"], settings=OVERLAP, **FAST)
    named = [line.split(" holds label 7")[0].strip() for line in str(raised.value).splitlines() if "label 7" in line]
    expected = [("a", "labelsTr"), ("a", "pred0"), ("b", "pred0"), ("b", "pred1")]
    assert named == [f"{case}: {folder / place / case}.nii.gz" for case, place in expected]


def test_an_unreadable_reference_is_named_with_the_problems_of_its_predictions(tmp_path):
    array, strange = random_label_map(0), random_label_map(0)
    strange[0, 0, 0] = 7
    folder = write_cohort(tmp_path, {"a": array}, {"a": strange})
    (folder / "labelsTr" / "a.nii.gz").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"(?s)labelsTr/a\.nii\.gz cannot be read.*pred0/a\.nii\.gz holds label 7"):
        evaluate(folder / "labelsTr", folder / "pred0", **FAST)


def test_several_processes_give_the_same_results_in_the_same_order(tmp_path):
    folder = write_cohort(
        tmp_path,
        {f"case{seed}": random_label_map(seed) for seed in range(5)},
        {f"case{seed}": random_label_map(seed + 10) for seed in range(5)},
    )
    arguments = {"settings": OVERLAP, "progress": False}
    one = evaluate(folder / "labelsTr", folder / "pred0", processes=1, **arguments)
    two = evaluate(folder / "labelsTr", folder / "pred0", processes=2, **arguments)
    assert one.cases.equals(two.cases) and len(one.cases) == 10


def test_methods_are_named_by_the_shortest_distinct_ends_of_their_folders(tmp_path):
    folders = [tmp_path / "a" / "fold_0" / "validation", tmp_path / "b" / "fold_0" / "validation"]
    assert list(name_methods(folders)) == ["a/fold_0/validation", "b/fold_0/validation"]
    assert list(name_methods([tmp_path / "x", tmp_path / "y"])) == ["x", "y"]
    with pytest.raises(UserError, match="as many different names"):
        name_methods(folders, ["x"])


@pytest.mark.parametrize(("gib", "expected"), [(64, 8), (3, 1), (0, 1)])
def test_fewer_processes_run_where_memory_is_short(monkeypatch, gib, expected):
    monkeypatch.setattr(processes, "available_memory", lambda: gib * 2**30)
    monkeypatch.setattr(processes, "usable_cores", lambda: 8)
    assert count_processes(10**7, Settings()) == expected  # 1.6 GB for surfaces, 0.4 GB besides


@pytest.mark.data
def test_volumes_of_oblique_scans_equal_simpleitks(real_data, tmp_path):
    labels = sorted((real_data / "msd_prostate" / "labelsTr").glob("prostate_*.nii.gz"))[:2]
    for folder in ("labelsTr", "pred"):
        (tmp_path / folder).mkdir()
    for file in labels:
        image = sitk.ReadImage(str(file))
        sitk.WriteImage(sitk.Cast(image, sitk.sitkUInt8), str(tmp_path / "labelsTr" / file.name))
        shifted = sitk.GetImageFromArray(np.roll(sitk.GetArrayFromImage(image), 2, axis=2).astype(np.uint8))
        shifted.CopyInformation(image)
        sitk.WriteImage(shifted, str(tmp_path / "pred" / file.name))
    names = {"background": 0, "PZ": 1, "TZ": 2}
    content = {"channel_names": {"0": "T2"}, "labels": names, "file_ending": ".nii.gz"}
    (tmp_path / "dataset.json").write_text(json.dumps(content))

    found = evaluate(tmp_path / "labelsTr", tmp_path / "pred", processes=1, progress=False)

    for file in labels:
        case, shape = file.name.removesuffix(".nii.gz"), sitk.LabelShapeStatisticsImageFilter()
        image = sitk.ReadImage(str(file), sitk.sitkUInt8)
        shape.Execute(image)
        assert found.value("reference_ml", case, "PZ") == pytest.approx(shape.GetPhysicalSize(1) / 1000)
        # Moved by two voxels along x: no point of the surface is further off than that.
        assert 0 < found.value("ASSD_mm", case, "PZ") <= found.value("HD_mm", case, "PZ")
        assert found.value("HD_mm", case, "PZ") <= 2 * image.GetSpacing()[0] + 1e-4
