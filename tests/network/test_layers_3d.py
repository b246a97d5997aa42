"""3D convolutions computed in 2D are the convolutions that they replace."""

import copy

import pytest
import torch
from torch import nn

from ser_nnunet.network import checkpointed_layers
from ser_nnunet.network.layers import LayerFactory
from ser_nnunet.network.layers_3d import FactorConv3d, JoiningConv3d, factorised
from ser_nnunet.network.ser_net import SERNet

LAST = torch.channels_last_3d


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, LAST])
@pytest.mark.parametrize(
    ("kernel", "stride"),
    [
        ((1, 3, 3), (1, 1, 1)),
        ((1, 3, 3), (1, 2, 2)),
        ((1, 3, 3), (1, 2, 1)),
        ((3, 1, 1), (1, 1, 1)),
        ((3, 1, 1), (2, 1, 1)),
        ((1, 1, 1), (1, 1, 1)),
        ((1, 1, 3), (1, 1, 2)),
    ],
)
@pytest.mark.parametrize("groups", [1, 4])
def test_a_factor_is_the_convolution_of_its_kernel(kernel, stride, groups, memory_format):
    torch.manual_seed(0)
    layer = FactorConv3d(4, 8, kernel, stride, groups, bias=True).to(memory_format=memory_format)
    reference = nn.Conv3d(4, 8, kernel, stride, [edge // 2 for edge in kernel], groups=groups)
    reference.load_state_dict(layer.state_dict())
    volumes = [torch.randn(2, 4, 5, 7, 6).to(memory_format=memory_format).requires_grad_() for _ in range(2)]
    volumes[1].data.copy_(volumes[0].data)
    results = [module(volume) for module, volume in zip((layer, reference), volumes, strict=True)]
    torch.testing.assert_close(*results)
    for result in results:
        result.square().sum().backward()
    torch.testing.assert_close(volumes[0].grad, volumes[1].grad, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(layer.weight.grad, reference.weight.grad, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("kernel", [(1, 3, 3), (3, 1, 1)])
def test_joining_is_the_convolution_of_the_concatenated_inputs(kernel):
    torch.manual_seed(0)
    layer = JoiningConv3d(3 + 2, 4, kernel, (1, 1, 1)).to(memory_format=LAST)
    parts = [torch.randn(2, channels, 5, 7, 6).to(memory_format=LAST).requires_grad_() for channels in (3, 2)]
    found = layer(*parts)
    expected = nn.functional.conv3d(torch.cat(parts, 1), layer.weight, padding=layer.padding)
    torch.testing.assert_close(found, expected)
    inputs = [*parts, layer.weight]
    gradients = [torch.autograd.grad(result.square().sum(), inputs) for result in (found, expected)]
    for own, reference in zip(*gradients, strict=True):
        torch.testing.assert_close(own, reference, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("kernel", "stride"), [((3, 3, 3), (1, 1, 1)), ((3, 1, 1), (1, 2, 2)), ((1, 3, 3), (2, 1, 1))])
def test_other_kernels_are_refused(kernel, stride):
    with pytest.raises(ValueError, match=r"\(1, k, l\) or \(k, 1, 1\) expected"):
        FactorConv3d(4, 4, kernel, stride)


def test_two_factors_are_a_convolution_whose_kernel_is_their_product():
    torch.manual_seed(0)
    within, across = factorised(4, 4, (3, 3, 3), (2, 1, 2), depthwise=True)
    kernel = across.weight * within.weight  # (4, 1, 3, 1, 1) times (4, 1, 1, 3, 3)
    volume = torch.randn(1, 4, 6, 5, 8)
    expected = nn.functional.conv3d(volume, kernel, None, (2, 1, 2), 1, groups=4)
    torch.testing.assert_close(across(within(volume)), expected)


def test_the_plans_kernels_hold_on_their_grids():
    """As nnU-Net plans them: no convolution across slices that are much further apart than the pixels."""
    layers = LayerFactory(3, kernels={(1, 1, 1): (1, 3, 3)})
    volume = torch.zeros(1, 1, 5, 5, 5)
    volume[:, :, 2, 2, 2] = 1
    for on_grid, reach in ((layers, 1), (layers.on_grid((1, 2, 2)), 3)):
        for block in (on_grid.conv(1, 1), on_grid.factorised(1, 1), on_grid.joining(1, 1), on_grid.depthwise(1)):
            convolutions = [module for module in block if isinstance(module, nn.Conv3d)]
            found = nn.Sequential(*convolutions)(volume)
            assert (found != 0).any(4).any(3).sum() == reach


def test_joined_features_are_computed_again_instead_of_kept():
    """The same results, gradients and running averages; no copy of the joined features is stored for the gradients."""
    torch.manual_seed(0)
    layers = LayerFactory(3).separable(3 + 2, 4)
    enlarge = nn.ConvTranspose3d(6, 3, 2, 2)
    reference = copy.deepcopy(nn.ModuleList([layers, enlarge]))
    coarse, fine = torch.randn(2, 6, 2, 3, 2), torch.randn(2, 2, 4, 6, 4)
    inputs = [[maps.clone().requires_grad_() for maps in (coarse, fine)] for _ in range(2)]
    stored = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: stored.append(tensor.numel()) or tensor, lambda t: t):
        result = layers(*inputs[0], enlarge=enlarge)
    expected = apply_in_order(reference[0], torch.cat([reference[1](inputs[1][0]), inputs[1][1]], 1))
    torch.testing.assert_close(result, expected)
    assert 2 * 5 * 4 * 6 * 4 not in stored
    for output in (result, expected):
        output.square().sum().backward()
    for found, wanted in zip(inputs[0], inputs[1], strict=True):
        torch.testing.assert_close(found.grad, wanted.grad)
    for found, wanted in zip(nn.ModuleList([layers, enlarge]).parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(found.grad, wanted.grad)
    for found, wanted in zip(layers.buffers(), reference[0].buffers(), strict=True):
        torch.testing.assert_close(found, wanted)


def test_features_between_factorised_convolutions_are_computed_again_instead_of_kept():
    """Kept are the input, and what normalisation and activation need; the same gradients as layer by layer."""
    torch.manual_seed(0)
    layers = LayerFactory(3).factorised(3, 4)
    reference, volume = copy.deepcopy(layers), torch.randn(2, 3, 4, 6, 4, requires_grad=True)
    stored = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: stored.append(tensor.numel()) or tensor, lambda t: t):
        result = layers(volume)
    assert stored.count(2 * 4 * 4 * 6 * 4) == 2
    expected = apply_in_order(reference, volume)
    torch.testing.assert_close(result, expected)
    gradients = [
        torch.autograd.grad(output.square().sum(), [volume, *block.parameters()])
        for output, block in ((result, layers), (expected, reference))
    ]
    for found, wanted in zip(*gradients, strict=True):
        torch.testing.assert_close(found, wanted)


def test_where_the_output_alone_is_kept_the_running_averages_move_once():
    """Every training step computes these layers twice; the averages and their count are those of one pass."""
    torch.manual_seed(0)
    layers = LayerFactory(3).separable(3 + 2, 4, keep_output_alone=True)
    head, reference = nn.Conv3d(4, 2, 1), copy.deepcopy(layers)
    parts, stored = [torch.randn(2, channels, 4, 6, 4, requires_grad=True) for channels in (3, 2)], []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: stored.append(tensor.numel()) or tensor, lambda t: t):
        result = layers(*parts, head=head)
    assert max(stored) == max(part.numel() for part in parts), "the inputs alone"
    expected = head(apply_in_order(reference, torch.cat(parts, 1)))
    torch.testing.assert_close(result, expected)
    for retained in (True, False):  # SERTrainer measures the gradients of two losses on one graph
        gradients = [
            torch.autograd.grad(output.square().sum(), [*parts, *block.parameters()], retain_graph=retained)
            for output, block in ((result, layers), (expected, reference))
        ]
        for found, wanted in zip(*gradients, strict=True):
            torch.testing.assert_close(found, wanted)
    for found, wanted in zip(layers.buffers(), reference.buffers(), strict=True):
        torch.testing.assert_close(found, wanted)
    assert {layer.momentum for layer in layers.modules() if isinstance(layer, nn.BatchNorm3d)} == {0.1}


def test_the_averages_move_again_after_a_backward_pass_that_failed():
    layers = LayerFactory(3).separable(2, 4, keep_output_alone=True)
    result = layers(torch.randn(2, 2, 4, 6, 4, requires_grad=True))
    layers[1].register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        result.sum().backward()
    averaging = [layer for layer in layers.modules() if isinstance(layer, nn.BatchNorm3d)]
    assert all(layer.momentum == 0.1 and layer.num_batches_tracked == 1 for layer in averaging)


def test_synchronised_batch_normalisation_is_not_computed_again(monkeypatch):
    """On several GPUs its means are communicated; a second time, in the backward pass, processes could wait forever."""
    monkeypatch.setattr(checkpointed_layers, "checkpoint", None)
    layers = nn.Sequential(nn.SyncBatchNorm(1))
    assert checkpointed_layers.recompute(torch.neg, torch.ones(1), modules=layers.modules()) == -1


@pytest.mark.parametrize("detach", [True, False])
@pytest.mark.parametrize("bfloat16", [True, False])
def test_a_3d_network_has_the_gradients_that_it_has_when_everything_is_kept(detach, bfloat16, monkeypatch):
    torch.manual_seed(0)
    network, patch = SERNet(1, 2, (8, 16, 16)), torch.randn(2, 1, 8, 16, 16)
    gradients = []
    for keep_everything in (False, True):
        if keep_everything:
            monkeypatch.setattr(checkpointed_layers, "checkpoint", lambda function, *inputs, **_: function(*inputs))
        copied, stored = copy.deepcopy(network), []
        with (
            torch.autograd.graph.saved_tensors_hooks(
                lambda each, to=stored: to.append(each) or each, lambda each: each
            ),
            torch.autocast("cpu", torch.bfloat16, enabled=bfloat16),
        ):
            logits, prompt = copied(patch, detach_prompt=detach)
        (logits.float().square().sum() + prompt.float().square().sum()).backward()
        gradients.append([*(parameter.grad for parameter in copied.parameters()), *copied.buffers()])
        concatenated = 32 + 26 + 16  # channels of the block's input and of the layers that its fourth one takes
        assert (concatenated in {each.shape[1] for each in stored if each.ndim > 3}) == keep_everything
    for found, wanted in zip(*gradients, strict=True):
        torch.testing.assert_close(found, wanted)


def test_nothing_is_computed_again_in_2d_and_in_prediction(monkeypatch):
    def refuse(*inputs, **settings):
        raise AssertionError("computed again")

    monkeypatch.setattr(checkpointed_layers, "checkpoint", refuse)
    SERNet(1, 2, (32, 32))(torch.randn(2, 1, 32, 32))
    volume = torch.randn(2, 1, 8, 16, 16)
    SERNet(1, 2, (8, 16, 16)).eval()(volume)
    with pytest.raises(AssertionError, match="computed again"):
        SERNet(1, 2, (8, 16, 16))(volume)


def apply_in_order(layers: nn.Module, features: torch.Tensor) -> torch.Tensor:
    """Return the layers' features, one layer after another, everything kept."""
    for layer in layers.modules():
        features = features if isinstance(layer, nn.Sequential) else layer(features)
    return features
