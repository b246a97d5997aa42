"""HarDNet's published variants: parameter counts, links, shapes; ImageNet weights are read from a file."""

import pytest
import torch

from ser_nnunet.errors import UserError
from ser_nnunet.network.hardnet import HarDNet, HarmonicBlock, harmonic_links, harmonic_width
from ser_nnunet.network.layers import LayerFactory, count_parameters
from ser_nnunet.network.pretrained import load_imagenet_weights

# Parameters with the classifier of ImageNet's 1000 classes, and without.
PUBLISHED = {
    "39DS": (3_488_228, 2_463_228),
    "68DS": (4_180_602, 3_155_602),
    "68": (17_565_348, 16_540_348),
    "85": (36_670_212, 35_389_212),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameter_counts_are_the_published_ones(name):
    with torch.device("meta"):
        encoder = HarDNet(name)
    with_classifier, without = PUBLISHED[name]
    assert count_parameters(encoder) == without
    assert count_parameters(encoder) + (encoder.feature_info[-1].channels + 1) * 1000 == with_classifier


def test_the_stage_that_the_reference_leaves_unused_has_its_published_size():
    with torch.device("meta"):
        assert count_parameters(HarDNet("85").stages[-1]) == 17_505_664


def test_85_has_the_feature_maps_that_the_papers_decoder_expects():
    with torch.device("meta"):
        features = HarDNet("85")(torch.zeros(1, 3, 64, 96))
    shapes = [tuple(feature.shape[1:]) for feature in features]
    assert shapes == [(96, 32, 48), (192, 16, 24), (320, 8, 12), (720, 4, 6), (1280, 2, 3)]


@pytest.mark.parametrize(
    ("layer", "links"), [(1, [0]), (2, [1, 0]), (3, [2]), (4, [3, 2, 0]), (6, [5, 4]), (8, [7, 6, 4, 0])]
)
def test_links_are_harmonic(layer, links):
    """Figure 2 of the paper: layer l links to l - 2**n wherever 2**n divides l."""
    assert harmonic_links(layer) == links


def test_widths_grow_with_the_power_of_two_and_are_even():
    widths = [harmonic_width(layer, growth=10, multiplier=1.6) for layer in (1, 2, 3, 4)]
    assert widths == [10, 16, 10, 26]  # 10, 10 * 1.6, 10, 10 * 2.56 = 25.6, made even


def test_a_block_keeps_its_odd_layers_and_the_last():
    block = HarmonicBlock(8, growth=10, multiplier=1.6, num_layers=4, depthwise=False, layers=LayerFactory())
    assert block.channels_out == 10 + 10 + 26
    assert block(torch.zeros(1, 8, 5, 7)).shape == (1, 46, 5, 7)


@pytest.mark.parametrize("name", ["39DS", "68"])
def test_2d_and_3d_have_the_same_features(name):
    """Channels and strides are the same in both, and the names of the layers, too, where none are factorised."""
    with torch.device("meta"):
        flat, solid = HarDNet(name, 1), HarDNet(name, 1, layers=LayerFactory(dimension=3))
        flat_features = flat(torch.zeros(1, 1, 64, 64))
        solid_features = solid(torch.zeros(1, 1, 64, 64, 64))
    for two, three in zip(flat_features, solid_features, strict=True):
        assert three.shape == (*two.shape, two.shape[-1])
    if name == "68":
        assert [key for key, _ in flat.named_parameters()] == [key for key, _ in solid.named_parameters()]


def test_depthwise_convolutions_are_factorised_in_3d():
    """Each of 2D becomes one within the slices and one across them: 3D depthwise kernels are slow on CPUs."""
    with torch.device("meta"):
        networks = HarDNet("39DS", 1), HarDNet("39DS", 1, layers=LayerFactory(dimension=3))
    flat, solid = ([module for module in network.modules() if getattr(module, "groups", 1) > 1] for network in networks)
    within, across = solid[::2], solid[1::2]
    assert len(flat) == len(within) == len(across)
    assert all(layer.kernel_size == (1, *two.kernel_size) for layer, two in zip(within, flat, strict=True))
    assert all(layer.kernel_size == (3, 1, 1) and layer.groups == layer.in_channels for layer in across)


def test_feature_info_states_channels_and_anisotropic_strides():
    encoder = HarDNet("39DS", 1, layers=LayerFactory(dimension=3), strides=[(1, 2, 2), (1, 2, 2)], feature_maps=3)
    features = encoder(torch.zeros(1, 1, 5, 32, 32))
    assert [info.stride for info in encoder.feature_info] == [(1, 2, 2), (1, 4, 4), (2, 8, 8)]
    assert [tuple(feature.shape[2:]) for feature in features] == [(5, 16, 16), (5, 8, 8), (3, 4, 4)]
    assert [feature.shape[1] for feature in features] == [info.channels for info in encoder.feature_info]


def test_imagenet_weights_load_from_a_file(tmp_path):
    """A whole classifier's checkpoint fills a shorter encoder with another input depth, averaged over RGB."""
    published = HarDNet("39DS", 3)
    classifier = {"base.16.weight": torch.zeros(1000, 1024), "base.16.bias": torch.zeros(1000)}
    torch.save({"state_dict": published.state_dict() | classifier}, tmp_path / "hardnet.pth")
    encoder = HarDNet("39DS", 2, feature_maps=4)
    copied = load_imagenet_weights(encoder, tmp_path / "hardnet.pth")
    assert copied == sum(weight.is_floating_point() for weight in encoder.state_dict().values())
    first, *rest = encoder.parameters()
    original, *others = published.parameters()
    torch.testing.assert_close(first, original.mean(1, keepdim=True).expand(-1, 2, -1, -1))
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(rest, others[: len(rest)], strict=True))


def test_weights_of_another_variant_are_refused_and_nothing_is_changed(tmp_path):
    torch.save(HarDNet("68DS").state_dict(), tmp_path / "other.pth")
    torch.save(HarDNet("39DS", feature_maps=2).state_dict(), tmp_path / "short.pth")
    (tmp_path / "broken.pth").write_bytes(b"not a checkpoint")
    encoder = HarDNet("39DS")
    before = [parameter.clone() for parameter in encoder.parameters()]
    with pytest.raises(UserError, match=r"(?s)other\.pth is no checkpoint of this HarDNet variant.*expected"):
        load_imagenet_weights(encoder, tmp_path / "other.pth")
    with pytest.raises(UserError, match=r"short\.pth is no checkpoint of this HarDNet variant: \d+ tensors expected"):
        load_imagenet_weights(encoder, tmp_path / "short.pth")
    with pytest.raises(UserError, match="no readable PyTorch checkpoint"):
        load_imagenet_weights(encoder, tmp_path / "broken.pth")
    assert all(torch.equal(old, new) for old, new in zip(before, encoder.parameters(), strict=True))
