"""One configuration of a plan: volume, tiles and mirroring as nnU-Net's predictor has them."""

import pytest
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from ser_nnunet.errors import UserError
from ser_nnunet.nnunet.plans import PlannedConfiguration, count_tiles, read_configuration
from tests.benchmark.tiny_dataset import DATASET_JSON, tiny_configuration, tiny_plans, write_plans


class CountingNetwork(torch.nn.Module):
    """Two logits per voxel, all zero, and how often they were asked for."""

    calls = 0

    def forward(self, image):
        self.calls += 1
        return torch.zeros(1, 2, *image.shape[2:])


@pytest.mark.parametrize(
    ("volume", "patch"),
    [((3, 32, 32), (32, 32)), ((5, 33, 70), (32, 32)), ((4, 20, 100), (32, 48)), ((40, 33, 65), (32, 32, 32))],
)
def test_tiles_are_the_calls_of_nnunets_predictor(volume, patch):
    planned = tiny_configuration(tiny_plans(patch=patch))
    network = CountingNetwork()
    predictor = nnUNetPredictor(use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False)
    managers = planned.plans_manager, planned.configuration_manager
    predictor.manual_initialization(network, *managers, None, planned.dataset_json, "nnUNetTrainer", None)
    predictor.predict_sliding_window_return_logits(torch.zeros(1, *volume))
    assert count_tiles(volume, patch) == network.calls > 1


def test_a_2d_plan_predicts_every_slice_of_the_median_volume():
    planned = tiny_configuration(tiny_plans(median=(50.0, 35.5), slices=36))
    assert planned.volume == (36, 50, 36)
    assert planned.tiles == 36 * 3 * 2  # 50 -> tiles at 0, 9, 18; 36 -> 0, 4
    assert planned.mirrorings == 4


def test_the_volume_to_predict_can_be_given():
    planned = PlannedConfiguration(tiny_plans(), "2d", DATASET_JSON, shape=(7, 40, 32))
    assert planned.volume == (7, 40, 32) and planned.tiles == 7 * 2


def test_one_prompt_per_region_or_foreground_class():
    assert tiny_configuration(labels={"background": 0, "one": 1, "two": 2}).prompts == 2
    regions = {"background": 0, "whole": [1, 2], "core": 2, "ignore": 3}
    assert tiny_configuration(labels=regions, regions_class_order=[1, 2]).prompts == 2


@pytest.mark.parametrize(
    ("content", "reported"),
    [("{", "can't be read"), ("[]", "no entry 'configurations'"), ("{}", "no entry 'configurations'")],
)
def test_a_file_that_is_no_plan_is_named(tmp_path, content, reported):
    file = write_plans(tmp_path)
    file.write_text(content)
    with pytest.raises(UserError, match=reported) as caught:
        read_configuration(file, "2d", None, None)
    assert str(file) in str(caught.value)
