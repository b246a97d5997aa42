"""Lesions on masks drawn by hand: found, missed and false ones by both rules, and by size."""

import math

import numpy as np
import pytest
from scipy import ndimage

from ser_nnunet.evaluation.lesions import label_components, measure_lesions
from ser_nnunet.evaluation.settings import Settings
from tests.evaluation.cohort import random_blobs


def draw_mask(*rows):
    return np.array([[cell == "#" for cell in row] for row in rows])


#                    3 voxels, a single one, 4 voxels
REFERENCE = draw_mask("###.....##", "........##", ".....#....")
#                    two pieces of the first, nothing, one of the four, and one alone
PREDICTION = draw_mask("#.#......#", "..........", ".#........")


def measure(reference, prediction, **choices):
    return measure_lesions(reference, prediction, 0.001, Settings(**choices))


def test_lesions_are_counted_one_by_one():
    metrics, lesions = measure(REFERENCE, PREDICTION, strata=(2, 4))
    assert metrics["lesions_reference"] == 3 and metrics["lesions_predicted"] == 4
    assert metrics["lesions_found"] == 2 and metrics["lesions_missed"] == 1 and metrics["lesions_false"] == 1
    assert metrics["lesion_sensitivity"] == 2 / 3 and metrics["lesion_precision"] == 3 / 4
    assert metrics["lesion_F1"] == pytest.approx(2 * (2 / 3) * (3 / 4) / (2 / 3 + 3 / 4))
    found = {(lesion["voxels"], lesion["matched"]) for lesion in lesions if lesion["of"] == "reference"}
    assert found == {(3, True), (4, True), (1, False)}
    assert lesions[0]["ml"] == pytest.approx(0.003)


def test_sizes_fall_into_their_strata():
    metrics, _ = measure(REFERENCE, PREDICTION, strata=(2, 4))
    assert [metrics[f"lesions_reference[{stratum}]"] for stratum in ("<2", "2-3", ">=4")] == [1, 1, 1]
    assert [metrics[f"lesion_sensitivity[{stratum}]"] for stratum in ("<2", "2-3", ">=4")] == [0, 1, 1]
    assert metrics["lesions_predicted[<2]"] == 4 and metrics["lesion_precision[<2]"] == 3 / 4
    assert math.isnan(metrics["lesion_precision[2-3]"])  # nothing of this size was predicted


def dots_and_bars(bars):
    """Three reference lesions of one voxel, and bars of 11 voxels over (or beside) them."""
    reference, prediction = np.zeros((7, 40), bool), np.zeros((7, 40), bool)
    for row in (1, 3, 5):
        reference[row, 5] = True
    for row, start in bars:
        prediction[row, start : start + 11] = True
    return reference, prediction


def test_small_lesions_that_large_predictions_cover_are_found():
    metrics, _ = measure(*dots_and_bars([(1, 0), (3, 0), (5, 0)]))
    assert metrics["lesions_predicted[<10]"] == 0 and metrics["lesions_predicted[10-99]"] == 3
    assert metrics["lesion_sensitivity[<10]"] == 1 and metrics["lesion_F1[<10]"] == 1
    assert math.isnan(metrics["lesion_F1[10-99]"])  # none to be found, none false
    assert metrics["lesion_F1"] == 1


def test_f1_within_a_stratum_counts_its_missed_lesions():
    metrics, _ = measure(*dots_and_bars([(1, 0), (3, 0)]))
    assert metrics["lesion_sensitivity[<10]"] == 2 / 3
    assert metrics["lesion_F1[<10]"] == 2 * 2 / (2 * 2 + 1)


def test_false_lesions_count_in_the_stratum_of_their_own_size():
    reference, prediction = dots_and_bars([(1, 0), (3, 0), (3, 20)])  # two met, a bar of 11 beside nothing
    prediction[1, 30] = True  # and a dot beside nothing
    metrics, _ = measure(reference, prediction)
    assert metrics["lesion_F1[<10]"] == 2 * 2 / (2 * 2 + 1 + 1)
    assert metrics["lesion_F1[10-99]"] == 0
    assert math.isnan(metrics["lesion_F1[>=100]"])


def test_lesions_found_by_predictions_below_the_minimal_size_stay_found():
    reference = draw_mask("####......", "..........", "......####")
    one_of_two = draw_mask("#.........", "..........", "..........")
    both = draw_mask("#.........", "..........", ".........#")
    assert measure(reference, both, min_lesion_voxels=2)[0]["lesion_F1"] == 1
    assert measure(reference, one_of_two, min_lesion_voxels=2)[0]["lesion_F1"] == 2 * 1 / (2 * 1 + 1)


def test_the_papers_strata_are_the_default():
    line = np.zeros((1, 400), bool)
    for start, size in ((0, 9), (10, 10), (30, 99), (140, 100)):
        line[0, start : start + size] = True
    metrics, _ = measure(line, line)
    assert [metrics[f"lesions_reference[{stratum}]"] for stratum in ("<10", "10-99", ">=100")] == [1, 2, 1]


def test_minimal_overlap_is_a_fraction_of_the_lesion():
    assert measure(REFERENCE, PREDICTION, min_overlap=0.3)[0]["lesions_found"] == 1  # 2 of 3 voxels, but not 1 of 4
    assert measure(REFERENCE, PREDICTION, min_overlap=0.7)[0]["lesions_found"] == 0


def test_one_to_one_pairs_count_a_split_lesion_once():
    metrics, _ = measure(REFERENCE, PREDICTION, detection="iou", min_overlap=0.2)
    # Each piece of the first lesion has an IoU of 1/3 with it, and one of them is left over; 1/4 for the last.
    assert metrics["lesions_found"] == 2 and metrics["lesions_false"] == 2
    assert measure(REFERENCE, PREDICTION, detection="iou", min_overlap=0.3)[0]["lesions_found"] == 1


def test_one_to_one_pairs_are_the_best_ones():
    reference = draw_mask("####", "....", "....")
    reference[2, :] = True
    prediction = draw_mask("####", "#...", "####")  # one component over both lesions
    metrics, _ = measure(reference, prediction, detection="iou", min_overlap=0.1)
    assert (metrics["lesions_found"], metrics["lesions_missed"], metrics["lesions_false"]) == (1, 1, 0)


def test_predictions_on_lesions_below_the_minimal_size_are_true():
    metrics, _ = measure(REFERENCE, draw_mask("..........", "..........", "....##...."), min_lesion_voxels=2)
    assert metrics["lesions_reference"] == 2 and metrics["lesions_found"] == 0
    assert metrics["lesion_precision"] == 1  # it overlaps a lesion below the minimal size


@pytest.mark.parametrize(("first", "second"), [((0, 0, 0), (1, 1, 1)), ((0, 0, 0), (0, 1, 1)), ((2, 1, 0), (2, 2, 1))])
def test_corners_and_edges_connect_in_three_dimensions(first, second):
    mask = np.zeros((4, 4, 4), bool)
    mask[first] = mask[second] = True
    assert label_components(mask).sizes.tolist() == [2]


def test_corners_connect_in_two_dimensions_and_a_gap_does_not():
    assert label_components(draw_mask("#..", ".#.", "...")).sizes.tolist() == [2]
    assert label_components(draw_mask("#.#", "...", "...")).sizes.tolist() == [1, 1]


def test_metrics_of_two_empty_masks_are_undefined_and_of_one_are_zero():
    empty = np.zeros((3, 10), bool)
    nothing = measure(empty, empty)[0]
    assert nothing["lesions_reference"] == 0 and math.isnan(nothing["lesion_F1"])
    assert math.isnan(nothing["lesion_sensitivity"]) and math.isnan(nothing["lesion_precision"])
    missed = measure(REFERENCE, empty)[0]
    assert missed["lesion_F1"] == 0 and missed["lesion_sensitivity"] == 0 and math.isnan(missed["lesion_precision"])
    false = measure(empty, PREDICTION)[0]
    assert false["lesion_F1"] == 0 and math.isnan(false["lesion_sensitivity"]) and false["lesion_precision"] == 0


@pytest.mark.parametrize("shape", [(1, 12), (12, 1), (1, 1, 12), (12, 1, 1), (1, 12, 1), (1, 1), (1, 4, 5)])
def test_components_of_thin_masks_are_those_of_scipy(shape):
    random = np.random.default_rng(0)
    for _ in range(30):
        mask = random.random(shape) < 0.5
        expected, count = ndimage.label(mask, np.ones((3,) * len(shape)))
        found = label_components(mask)
        assert np.array_equal(found.labels > 0, mask)
        assert found.sizes.tolist() == np.bincount(expected.ravel(), minlength=count + 1)[1:].tolist()


def two_lesions():
    """A lesion found with an IoU of 3 / 4, one that is missed, and one that is false."""
    reference, prediction = np.zeros((2, 1, 12), bool)
    reference[0, :4] = prediction[0, :3] = True
    reference[0, 6:8] = prediction[0, 9:11] = True
    return reference, prediction


def test_panoptic_quality_and_dice_per_lesion_by_hand():
    metrics, lesions = measure(*two_lesions(), strata=(3,))
    assert metrics["SQ"] == 3 / 4 and metrics["RQ"] == 1 / (1 + 1 / 2 + 1 / 2)
    assert metrics["PQ"] == metrics["SQ"] * metrics["RQ"] == 3 / 8
    assert metrics["lesion_Dice"] == 6 / 7  # of the found lesion: 2 * 3 / (4 + 3)
    assert metrics["PQ[>=3]"] == 3 / 4 and metrics["PQ[<3]"] == 0
    assert [each["IoU"] for each in lesions if each["matched"]] == [3 / 4, 3 / 4]
    assert all(math.isnan(each["IoU"]) for each in lesions if not each["matched"])


def test_half_an_intersection_over_union_is_no_match():
    reference, prediction = np.zeros((2, 1, 8), bool)
    reference[0, :4] = prediction[0, :2] = True
    assert measure(reference, prediction)[0]["PQ"] == 0


def test_panoptic_quality_is_undefined_without_lesions_and_0_if_none_matches():
    empty, full = np.zeros((3, 3), bool), np.ones((3, 3), bool)
    for pair, pq in (((empty, empty), math.nan), ((full, empty), 0.0), ((empty, full), 0.0)):
        metrics = measure(*pair)[0]
        assert metrics["PQ"] == pytest.approx(pq, nan_ok=True) == pytest.approx(metrics["RQ"], nan_ok=True)
        assert math.isnan(metrics["SQ"]) and math.isnan(metrics["lesion_Dice"])


def test_small_lesions_that_are_not_counted_make_no_false_ones():
    reference, prediction = two_lesions()
    assert measure(reference, prediction, min_lesion_voxels=4)[0]["PQ"] == 3 / 4


@pytest.mark.parametrize("seed", range(3))
def test_panoptic_quality_equals_that_of_panoptica(seed):
    panoptica = pytest.importorskip("panoptica", reason="panoptica is not installed")
    reference, prediction = random_blobs(seed, (20, 40, 40)), np.roll(random_blobs(seed, (20, 40, 40)), 1, axis=2)
    evaluator = panoptica.Panoptica_Evaluator(
        expected_input=panoptica.InputType.SEMANTIC,
        instance_approximator=panoptica.ConnectedComponentsInstanceApproximator(),
        instance_matcher=panoptica.NaiveThresholdMatching(matching_threshold=0.5 + 1e-9),  # it matches at exactly 0.5
    )
    result = evaluator.evaluate(prediction.astype(np.uint8), reference.astype(np.uint8), verbose=False)["ungrouped"]
    metrics = measure(reference, prediction)[0]
    expected = {"PQ": result.pq, "SQ": result.sq, "RQ": result.rq, "lesion_Dice": result.sq_dsc}
    assert result.tp and {name: metrics[name] for name in expected} == pytest.approx(expected)
