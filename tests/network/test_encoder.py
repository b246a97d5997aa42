"""An encoder of one's own needs a class, a line in the registry and a preset; the network's depth follows the patch."""

from itertools import accumulate

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from ser_nnunet.network import ser_net
from ser_nnunet.network.encoder import ENCODERS
from ser_nnunet.network.layers import FeatureInfo
from ser_nnunet.network.ser_net import Preset, SERNet


class Pyramid(nn.Module):
    """One convolution per feature map, at strides 1, 2, 4, ..."""

    def __init__(self, input_channels, layers, strides, feature_maps, width):
        super().__init__()
        self.feature_info = [FeatureInfo(width, (2**level,) * layers.dimension) for level in range(feature_maps)]
        widths = [input_channels, *[width] * (feature_maps - 1)]
        self.stages = nn.ModuleList(layers.conv(wide, width, stride=2 if i else 1) for i, wide in enumerate(widths))

    def forward(self, patch):
        return list(accumulate(self.stages, lambda features, stage: stage(features), initial=patch))[1:]


def pyramid_preset(prompt_level, aggregator, max_feature_maps=4, width=8):
    return Preset("pyramid", {"width": width}, prompt_level, max_feature_maps, "batch", "relu", True, aggregator)


@pytest.fixture
def presets(monkeypatch):
    """SERNet's presets, to which a test may add; `pyramid` is a registered encoder."""
    monkeypatch.setitem(ENCODERS, "pyramid", Pyramid)
    monkeypatch.setattr(ser_net, "PRESETS", dict(ser_net.PRESETS))
    return ser_net.PRESETS


@pytest.mark.parametrize(
    ("prompt_level", "aggregator"), [(0, "linear"), (2, "linear"), (0, "detail"), (1, "detail"), (2, "wide")]
)
def test_an_encoder_of_ones_own_trains_with_every_aggregator(presets, prompt_level, aggregator):
    presets["own"] = pyramid_preset(prompt_level, aggregator)
    torch.manual_seed(0)
    network = SERNet(1, 2, (32, 32), preset="own")
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    target = torch.zeros(2, 32, 32, dtype=torch.long)
    target[0, 4:20, 8:24] = target[1, 16:28, 4:28] = 1
    patch = target[:, None] + 0.3 * torch.randn(2, 1, 32, 32)
    losses = []
    for _ in range(15):
        logits, prompt = network(patch)
        loss = cross_entropy(logits, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert prompt.shape == (2, 1, 256, 32 // 2**prompt_level, 32 // 2**prompt_level)
    assert losses[-1] < 0.5 * losses[0], losses


@pytest.mark.parametrize(
    ("preset", "patch", "strides"),
    [
        ("light", (64, 48), [(1, 1), (2, 2), (4, 4), (8, 8), (16, 16)]),
        ("light", (16, 320), [(1, 1), (2, 2), (4, 4), (8, 8)]),
        ("light", (8, 8), [(1, 1), (2, 2), (4, 4)]),
        ("light", (4, 4), [(1, 1), (2, 2), (4, 4)]),  # the prompt's stride is kept whatever the patch
        ("paper", (64, 48), [(2, 2), (4, 4), (8, 8), (16, 16)]),
        ("paper", (20, 12), [(2, 2), (4, 4), (8, 8)]),
        ("own", (64, 48), [(1, 1), (2, 2), (4, 4), (8, 8)]),
        ("own", (9, 64), [(1, 1), (2, 2), (4, 4), (8, 8)]),
        ("own", (8, 64), [(1, 1), (2, 2), (4, 4)]),
    ],
)
def test_the_coarsest_feature_map_keeps_two_voxels_of_the_patch(presets, preset, patch, strides):
    presets["own"] = pyramid_preset(2, "detail")
    with torch.device("meta"):
        encoder = SERNet(1, 2, patch, preset=preset).prompt_learner.encoder
    assert [info.stride for info in encoder.feature_info] == strides


@pytest.mark.parametrize("preset", sorted(ser_net.PRESETS))
@pytest.mark.parametrize("patch", [(37, 53), (9, 20, 33)])
def test_feature_info_states_the_shapes_of_the_feature_maps(preset, patch):
    with torch.device("meta"):
        encoder = SERNet(1, 2, patch, preset=preset).prompt_learner.encoder
        features = encoder(torch.zeros(1, 1, *patch))
    expected = [
        (info.channels, *(-(-edge // step) for edge, step in zip(patch, info.stride, strict=True)))
        for info in encoder.feature_info
    ]
    assert [tuple(feature.shape[1:]) for feature in features] == expected


def test_sizing_the_encoder_consumes_no_random_numbers(presets):
    """The seed decides the weights of the network alone, not how often its sizes were computed."""
    torch.manual_seed(0)
    built = Pyramid(1, ser_net.LayerFactory(2, "batch", "relu"), (), 4, width=8)
    torch.manual_seed(0)
    presets["own"] = pyramid_preset(1, "linear")
    network = SERNet(1, 2, (32, 32), preset="own")
    for mine, theirs in zip(built.parameters(), network.prompt_learner.encoder.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0)


def test_an_encoder_that_is_too_shallow_or_too_coarse_is_refused(presets):
    presets["shallow"] = pyramid_preset(3, "linear", max_feature_maps=3)
    with pytest.raises(ValueError, match="encoder 'pyramid': at least 4 feature maps expected, it has 3"):
        SERNet(1, 2, (64, 64), preset="shallow")
    presets["coarse"] = Preset("hardnet", {"config": "39DS"}, 1, 3, "batch", "relu6", True, "detail")
    with pytest.raises(ValueError, match=r"detail.*full resolution.*stride \(2, 2\)"):
        SERNet(1, 2, (64, 64), preset="coarse")
