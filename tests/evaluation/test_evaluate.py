"""`evaluate` on files: equal to nnU-Net's own evaluation, and clear about what doesn't fit together."""

import json

import numpy as np
import pytest
from nnunetv2.evaluation.evaluate_predictions import compute_metrics
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

from ser_nnunet.errors import UserError
from ser_nnunet.evaluation import Evaluation, Settings, evaluate
from ser_nnunet.evaluation.evaluator import name_methods
from tests.evaluation.cohort import IGNORE, LABELS, REGIONS, random_label_map, write_cohort, write_volume

FAST = {"processes": 1, "progress": False}
OVERLAP = Settings(groups=("overlap",), bootstrap=100)


@pytest.mark.parametrize(
    ("labels", "evaluated", "ignore", "values"),
    [
        (LABELS, {"anterior": 1, "posterior": 2}, None, 3),
        (REGIONS, {"whole": (1, 2), "posterior": (2,)}, None, 3),
        (IGNORE, {"anterior": 1, "posterior": 2}, 3, 4),
    ],
    ids=["labels", "regions", "ignore label"],
)
def test_dice_and_iou_are_nnunets_own(tmp_path, labels, evaluated, ignore, values):
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


def test_all_missing_and_extra_predictions_are_named_at_once(tmp_path):
    array = random_label_map(0)
    folder = write_cohort(tmp_path, {"a": array, "b": array, "c": array}, {"c": array, "x": array, "y": array})
    with pytest.raises(UserError) as raised:
        evaluate(folder / "labelsTr", folder / "pred0", **FAST)
    message = str(raised.value)
    assert "missing predictions" in message and "a, b" in message
    assert "extra predictions" in message and "x, y" in message


def test_chill_and_cases_choose_what_is_evaluated(tmp_path):
    array = random_label_map(0)
    folder = write_cohort(tmp_path, {"a": array, "b": array, "c": array}, {"b": array, "c": array})
    arguments = {"settings": OVERLAP, **FAST}
    chilled = evaluate(folder / "labelsTr", folder / "pred0", chill=True, **arguments)
    assert set(chilled.cases["case"]) == {"b", "c"}
    named = evaluate(folder / "labelsTr", folder / "pred0", cases=["c"], **arguments)
    assert set(named.cases["case"]) == {"c"}
    with pytest.raises(UserError, match=r"no reference in .* for z"):
        evaluate(folder / "labelsTr", folder / "pred0", cases=["c", "z"], **arguments)


def test_all_grids_that_differ_are_named_at_once(tmp_path):
    array = random_label_map(0)
    folder = write_cohort(tmp_path, dict.fromkeys("abcd", array), dict.fromkeys("abcd", array))
    write_volume(folder / "pred0" / "a.nii.gz", array[:-1])
    write_volume(folder / "pred0" / "b.nii.gz", array, spacing=(0.8, 1.0, 3.0))
    write_volume(folder / "pred0" / "c.nii.gz", array, origin=5.0)
    write_volume(folder / "pred0" / "d.nii.gz", array, origin=1e-4)  # as rounded headers are
    with pytest.raises(UserError) as raised:
        evaluate(folder / "labelsTr", folder / "pred0", **FAST)
    message = str(raised.value)
    assert "11 x 9 x 5 voxels instead of 11 x 9 x 6" in message
    assert "spacing 0.8 x 1 x 3 mm instead of 0.8 x 1 x 2.5 mm" in message
    assert "origin" in message and "d.nii.gz" not in message


def test_values_that_dataset_json_does_not_know_are_refused(tmp_path):
    array = random_label_map(0)
    strange, broken = array.copy(), array.astype(np.float32)
    strange[0, 0, 0], broken[0, 0, 0] = 7, 0.5
    folder = write_cohort(tmp_path, dict.fromkeys("ab", array), {"a": strange, "b": broken})
    with pytest.raises(UserError) as raised:
        evaluate(folder / "labelsTr", folder / "pred0", **FAST)
    assert "a.nii.gz holds label 7; dataset.json knows 0, 1, 2" in str(raised.value)
    assert "b.nii.gz holds values that are no labels: 0.5" in str(raised.value)


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
        f"b: {pred0 / 'b.nii.gz'} has 11 x 9 x 5 voxels instead of 11 x 9 x 6",
        f"b: {pred1 / 'b.nii.gz'} holds label 7",
        f"c: {pred0 / 'c.nii.gz'} holds label 7",
        f"c: {pred1 / 'c.nii.gz'} holds label 7",
        f"d: {pred1 / 'd.nii.gz'} cannot be read",
    ):
        assert message.count(problem) == 1
    assert message.count(" d: ") == 1 and "e.nii.gz" not in message


def test_a_bad_label_is_named_for_every_method_and_the_reference(tmp_path):
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


def test_an_unreadable_reference_is_named_with_what_its_predictions_hold(tmp_path):
    array, strange = random_label_map(0), random_label_map(0)
    strange[0, 0, 0] = 7
    folder = write_cohort(tmp_path, {"a": array}, {"a": strange})
    (folder / "labelsTr" / "a.nii.gz").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"(?s)labelsTr/a\.nii\.gz cannot be read.*pred0/a\.nii\.gz holds label 7"):
        evaluate(folder / "labelsTr", folder / "pred0", **FAST)


@pytest.mark.parametrize("broken", [["labelsTr"], ["labelsTr", "pred0"]])
def test_files_whose_voxels_are_cut_off_are_named(tmp_path, broken):
    array = random_label_map(0)
    folder = write_cohort(tmp_path, {"a": array}, {"a": array}, file_ending=".nii")
    for place in broken:
        file = folder / place / "a.nii"
        file.write_bytes(file.read_bytes()[:400])  # the header is whole
    with pytest.raises(UserError) as raised:
        evaluate(folder / "labelsTr", folder / "pred0", settings=OVERLAP, **FAST)
    assert all(str(folder / place / "a.nii") in str(raised.value) for place in broken)


def test_an_unreadable_file_is_named(tmp_path):
    array = random_label_map(0)
    folder = write_cohort(tmp_path, {"a": array}, {"a": array})
    (folder / "pred0" / "a.nii.gz").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"a\.nii\.gz cannot be read"):
        evaluate(folder / "labelsTr", folder / "pred0", **FAST)


def test_worker_processes_give_the_same_and_in_the_same_order(tmp_path):
    folder = write_cohort(
        tmp_path,
        {f"case{seed}": random_label_map(seed) for seed in range(5)},
        {f"case{seed}": random_label_map(seed + 10) for seed in range(5)},
    )
    arguments = {"settings": OVERLAP, "progress": False}
    one = evaluate(folder / "labelsTr", folder / "pred0", processes=1, **arguments)
    two = evaluate(folder / "labelsTr", folder / "pred0", processes=2, **arguments)
    assert one.cases.equals(two.cases) and len(one.cases) == 10


def test_flat_images_are_measured_in_two_dimensions(tmp_path):
    reference, prediction = np.zeros((20, 30), np.uint8), np.zeros((20, 30), np.uint8)
    reference[5:10, 5:10] = 1
    prediction[5:10, 8:13] = 1
    prediction[15, 25] = 1
    labels = {"background": 0, "cell": 1}
    folder = write_cohort(
        tmp_path, {"a": reference}, {"a": prediction}, labels=labels, spacing=(0.5, 0.5), file_ending=".nii.gz"
    )
    result = evaluate(folder / "labelsTr", folder / "pred0", **FAST)
    assert result.value("reference_ml", "a", "cell") == pytest.approx(25 * 0.25 / 1000)  # counts as 1 mm thick
    assert result.value("lesions_false", "a", "cell") == 1
    # From the single pixel at (15, 25) to the square's corner at (9, 9).
    assert result.value("HD_mm", "a", "cell") == pytest.approx(0.5 * np.hypot(6, 16))


def test_what_is_written_reads_back_and_replaces_the_last_result(tmp_path):
    folder = write_cohort(
        tmp_path,
        {f"case{seed}": random_label_map(seed) for seed in range(3)},
        {f"case{seed}": random_label_map(seed + 10) for seed in range(3)},
        {f"case{seed}": random_label_map(seed + 20) for seed in range(3)},
    )
    settings = Settings(groups=("overlap", "lesions"), strata=(5, 50), bootstrap=100)
    compared = evaluate(
        folder / "labelsTr", folder / "pred0", compare=[folder / "pred1"], settings=settings, names=["x", "y"], **FAST
    )
    out = tmp_path / "out"
    names = {file.name for file in compared.write(out)}
    assert names == {file.name for file in out.iterdir()}
    assert {"metrics_wide.csv", "metrics_long.csv", "lesions.csv", "summary.csv", "comparison.csv"} < names

    again = Evaluation.read(out)
    assert again.settings.as_json() == settings.as_json() and again.methods == ["x", "y"]
    assert np.allclose(again.cases[["Dice"]], compared.cases[["Dice"]])
    assert json.loads((out / "evaluation.json").read_text())["about"]["versions"]["nnunetv2"]

    evaluate(folder / "labelsTr", folder / "pred0", settings=OVERLAP, **FAST).write(out)
    assert not (out / "comparison.csv").exists() and not (out / "lesions.csv").exists()


def test_a_folder_without_evaluation_is_refused(tmp_path):
    with pytest.raises(UserError, match="no result of `ser-nnunet evaluate`"):
        Evaluation.read(tmp_path)


def test_methods_are_named_by_what_tells_their_folders_apart(tmp_path):
    folders = [tmp_path / "a" / "fold_0" / "validation", tmp_path / "b" / "fold_0" / "validation"]
    assert list(name_methods(folders)) == ["a/fold_0/validation", "b/fold_0/validation"]
    assert list(name_methods([tmp_path / "x", tmp_path / "y"])) == ["x", "y"]
    with pytest.raises(UserError, match="as many different names"):
        name_methods(folders, ["x"])


def test_dataset_json_is_explained_where_it_is_absent_or_of_another_kind(tmp_path):
    array = random_label_map(0)
    folder = write_cohort(tmp_path, {"a": array}, {"a": array})
    decathlon = {"labels": {"0": "background", "1": "anterior"}, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(decathlon))
    with pytest.raises(UserError, match=r"no nnU-Net v2 dataset\.json"):
        evaluate(folder / "labelsTr", folder / "pred0", **FAST)
    (folder / "dataset.json").unlink()
    with pytest.raises(UserError, match="--dataset-json"):
        evaluate(folder / "labelsTr", folder / "pred0", **FAST)
