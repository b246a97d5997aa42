"""Every preset of SERNet passes the same tests; sizes and tensor names are those that were published."""

import copy
import json
from dataclasses import replace
from hashlib import sha256

import pytest
import torch
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from torch.utils.flop_counter import FlopCounterMode

from ser_nnunet.errors import UserError
from ser_nnunet.network.hardnet import CONFIGS
from ser_nnunet.network.layers import CHANNELS_LAST, PatchNorm, count_parameters
from ser_nnunet.network.ser_net import PRESETS, SERNet, architecture

STRIDES_2D = [[1, 1], [2, 2], [2, 2], [2, 2], [2, 2]]


@pytest.mark.parametrize("preset", sorted(PRESETS))
class TestPreset:
    """What nnU-Net and a user rely on, whatever the preset."""

    @pytest.mark.parametrize("channels", [1, 2, 3, 4])
    @pytest.mark.parametrize("classes", [2, 3, 5])
    def test_forward_shapes(self, preset, channels, classes):
        network = SERNet(channels, classes, (64, 48), STRIDES_2D, preset=preset)
        logits, prompt = network(torch.randn(2, channels, 64, 48))
        assert logits.shape == (2, classes, 64, 48)
        assert prompt.shape == (2, classes - 1, 256, 16, 12)
        assert prompt.abs().max() <= 1

    @pytest.mark.parametrize("size", [(64, 48), (37, 53), (32, 100), (65, 33)])
    def test_any_size_in_eval_mode(self, preset, size):
        network = SERNet(1, 2, (64, 48), STRIDES_2D, preset=preset).eval()
        with torch.no_grad():
            assert network(torch.randn(1, 1, *size)).shape == (1, 2, *size)

    @pytest.mark.parametrize("patch", [(8, 8), (16, 320), (20, 24)])
    def test_small_patches_make_a_shallower_network_that_trains(self, preset, patch):
        network = SERNet(1, 2, patch, [[1, 1], [2, 2]], preset=preset)
        logits, _ = network(torch.randn(2, 1, *patch))
        logits.square().mean().backward()
        assert logits.shape == (2, 2, *patch)

    def test_every_parameter_gets_a_gradient_from_the_logits(self, preset):
        """DDP stops at parameters without one."""
        network = SERNet(2, 3, (64, 48), STRIDES_2D, preset=preset)
        logits, _ = network(torch.randn(2, 2, 64, 48))
        torch.nn.functional.cross_entropy(logits, torch.randint(0, 3, (2, 64, 48))).backward()
        without = [name for name, parameter in network.named_parameters() if parameter.grad is None]
        assert without == []

    def test_detached_prompts_keep_the_logits_gradient_from_the_prompt_learner(self, preset):
        network = SERNet(1, 2, (32, 32), STRIDES_2D, preset=preset)
        logits, prompt = network(torch.randn(2, 1, 32, 32), detach_prompt=True)
        logits.square().sum().backward()
        assert all(parameter.grad is None for parameter in network.prompt_learner.parameters())
        assert all(parameter.grad is not None for parameter in network.aggregator.parameters())
        assert prompt.requires_grad, "L_seg must still reach the prompt learner"

    def test_detaching_changes_no_value(self, preset):
        network, patch = SERNet(1, 2, (32, 32), STRIDES_2D, preset=preset), torch.randn(2, 1, 32, 32)
        for left, right in zip(network(patch), network(patch, detach_prompt=True), strict=True):
            assert torch.equal(left, right)

    def test_eval_is_deterministic_and_survives_a_state_dict_round_trip(self, preset, tmp_path):
        torch.manual_seed(1)
        network, reloaded = (SERNet(2, 3, (32, 48), STRIDES_2D, preset=preset) for _ in range(2))
        network(torch.randn(4, 2, 32, 48))  # moves batch statistics away from their start
        torch.save(network.state_dict(), tmp_path / "weights.pth")
        reloaded.load_state_dict(torch.load(tmp_path / "weights.pth", weights_only=True))
        patch = torch.randn(1, 2, 32, 48)
        with torch.no_grad():
            first, again, copied = network.eval()(patch), network(patch), reloaded.eval()(patch)
        assert torch.equal(first, again) and torch.equal(first, copied)

    @pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
    def test_logits_fit_into_float16(self, preset, scale):
        """nnU-Net sums logits in float16 and stops at an inf."""
        network = SERNet(1, 2, (32, 32), STRIDES_2D, preset=preset)
        for mode in (network.train, network.eval):
            mode()
            with torch.no_grad():
                output = network(torch.randn(2, 1, 32, 32) * scale)
            logits = output[0] if network.training else output
            assert torch.isfinite(logits).all() and logits.abs().max() < 1000

    def test_outliers_far_from_what_it_was_trained_on_fit_into_float16(self, preset):
        """Batch normalisation keeps its statistics: voxels of a thousand standard deviations go through unscaled."""
        network = SERNet(1, 2, (32, 32), STRIDES_2D, preset=preset)
        with torch.no_grad():
            for _ in range(20):
                network(torch.randn(4, 1, 32, 32))
            logits = network.eval()(torch.randn(2, 1, 32, 32) * 1000)
        assert logits.abs().max() < torch.finfo(torch.float16).max / 4

    def test_a_constant_patch_gives_finite_logits(self, preset):
        network = SERNet(1, 2, (32, 32), STRIDES_2D, preset=preset).eval()
        assert torch.isfinite(network(torch.zeros(1, 1, 32, 32))).all()

    @pytest.mark.slow
    def test_torch_compile_needs_no_graph_break(self, preset, monkeypatch):
        with_fewer_layers(monkeypatch)
        network, patch = SERNet(1, 2, (32, 32), STRIDES_2D, preset=preset), torch.randn(2, 1, 32, 32)
        compare_compiled(network, patch)

    def test_nnunet_builds_it_from_a_plan(self, preset):
        """Through nnU-Net's own builder, from JSON, with the arguments that nnU-Net adds."""
        entry = json.loads(json.dumps(architecture((64, 48), STRIDES_2D, 2, preset)))
        network = get_network_from_plans(
            entry["network_class_name"],
            entry["arch_kwargs"],
            entry["_kw_requires_import"],
            3,
            2,
            deep_supervision=False,
        )
        assert isinstance(network, SERNet) and network.num_prompts == 2
        assert network.eval()(torch.randn(1, 3, 64, 48)).shape == (1, 2, 64, 48)

    def test_anisotropic_3d(self, preset):
        strides = [[1, 1, 1], [1, 2, 2], [1, 2, 2], [2, 2, 2], [2, 2, 2]]
        network = SERNet(1, 2, (8, 32, 32), strides, preset=preset)
        logits, prompt = network(torch.randn(1, 1, 7, 33, 30))
        assert logits.shape == (1, 2, 7, 33, 30)
        assert prompt.shape == (1, 1, 256, 7, 9, 8)


def with_fewer_layers(monkeypatch):
    """Shorten the blocks to four layers, which are all kinds of them: tracing all of HarDNet-85's takes a minute."""
    for name in ("85", "light", "wide 3D"):
        blocks = len(CONFIGS[name].num_layers)
        monkeypatch.setitem(CONFIGS, name, replace(CONFIGS[name], num_layers=(4,) * blocks))


def compare_compiled(network, patch):
    """nnU-Net compiles on GPUs: no graph breaks (`fullgraph`), and both phases and eval agree with eager."""
    torch.compiler.reset()  # what was compiled for other networks counts for the limit of recompilations
    eager = copy.deepcopy(network)
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    for detach in (True, False):
        results = [each(patch, detach_prompt=detach)[0] for each in (compiled, eager)]
        torch.testing.assert_close(*results, atol=1e-4, rtol=1e-4)
        for each, logits in zip((network, eager), results, strict=True):
            each.zero_grad()
            logits.square().mean().backward()
        first = next(network.prompt_learner.parameters()).grad
        assert (first is None or not first.any()) == detach
        for found, expected in zip(network.parameters(), eager.parameters(), strict=True):
            gradients = [torch.zeros_like(each) if each.grad is None else each.grad for each in (found, expected)]
            torch.testing.assert_close(*gradients, atol=1e-4, rtol=1e-3)
    network.eval(), eager.eval()
    torch.testing.assert_close(compiled(patch), eager(patch), atol=1e-4, rtol=1e-4)


@pytest.mark.slow
def test_torch_compile_needs_no_graph_break_in_3d(monkeypatch):
    with_fewer_layers(monkeypatch)
    strides = [[1, 1, 1], [1, 2, 2], [2, 2, 2], [2, 2, 2]]
    compare_compiled(SERNet(1, 2, (8, 32, 32), strides), torch.randn(2, 1, 8, 32, 32))


def test_the_papers_network_has_the_papers_size():
    with torch.device("meta"):
        network = SERNet(3, 2, (512, 512), preset="paper")
    assert count_parameters(network.aggregator) == 41_282
    learner = network.prompt_learner
    assert count_parameters(learner) - count_parameters(learner.encoder) == 6_169_088
    assert count_parameters(learner.encoder) == 35_389_212 - 17_505_664, "without the unused last stage"


def test_the_papers_aggregator_is_linear():
    aggregator = SERNet(1, 2, (32, 32), preset="paper").aggregator
    one, two, detail = torch.randn(1, 256, 8, 8), torch.randn(1, 256, 8, 8), torch.zeros(1)
    bias = aggregator(torch.zeros_like(one), detail)
    together = aggregator(one + two, detail)
    torch.testing.assert_close(together, aggregator(one, detail) + aggregator(two, detail) - bias, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("classes", "prompts"), [(2, 1), (4, 3), (1, 1), (2, 2)])
def test_light_starts_with_one_percent_foreground(classes, prompts):
    """Exclusive classes (one prompt fewer) share the one percent; regions have it each."""
    torch.manual_seed(0)
    logits = SERNet(1, classes, (32, 32), num_prompts=prompts).eval()(torch.randn(2, 1, 32, 32))
    found = logits.softmax(1)[:, 1:].sum(1) if classes > prompts else logits.sigmoid()
    assert 0.005 < found.mean() < 0.02


def test_light_has_the_size_that_the_readme_states():
    """The parameters and MACs of README's first table (patch 224 x 192, three channels)."""
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        network = SERNet(3, 2, (224, 192), [[1, 1]] + [[2, 2]] * 5).eval()
        network(torch.zeros(1, 3, 224, 192))
    assert count_parameters(network) == pytest.approx(545_132, rel=0.03)
    assert counter.get_total_flops() / 2 == pytest.approx(866.2e6, rel=0.03)


def test_light_has_the_size_in_3d_that_the_readme_states():
    """README's second table (patch 128 x 128 x 128, three channels)."""
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        network = SERNet(3, 2, (128, 128, 128), [[1, 1, 1]] + [[2, 2, 2]] * 5).eval()
        network(torch.zeros(1, 3, 128, 128, 128))
    assert count_parameters(network) == pytest.approx(582_354, rel=0.005)
    assert counter.get_total_flops() / 2 == pytest.approx(20.01e9, rel=0.005)


# Names, shapes and number types of all tensors in checkpoints from before label_layers.py: they must remain readable.
STATE_DICTS = {"light": (338, "6c7a1f431616188e"), "paper": (515, "1affd5fc0182946e")}
TENSORS = {
    "light": {
        "prompt_learner.encoder.stages.0.0.0.weight": (24, 2, 3, 3),
        "prompt_learner.encoder.stages.3.1.layers.7.1.1.weight": (82,),
        "prompt_learner.fusions.0.convs.0.0.weight": (192, 512, 1, 1),
        "prompt_learner.head.0.weight": (512, 96, 1, 1),
        "aggregator.upsamplings.0.weight": (512, 32, 2, 2),
        "aggregator.joins.0.0.1.running_mean": (32,),
        "aggregator.last.bias": (3,),
    },
    "paper": {
        "prompt_learner.encoder.stages.0.0.0.weight": (48, 2, 3, 3),
        "prompt_learner.fusions.0.convs.0.0.bias": (320,),
        "prompt_learner.head.0.0.weight": (256, 192, 3, 3),
        "prompt_learner.head.1.weight": (512, 256, 3, 3),
        "aggregator.first.weight": (128, 512, 1, 1),
        "aggregator.last.bias": (3,),
    },
}


@pytest.mark.parametrize("preset", sorted(TENSORS))
def test_saved_checkpoints_stay_loadable(preset):
    """Those of format 2, in 2D until 0.5.0; some have no `seg_layers` in their names."""
    with torch.device("cpu" if preset == "light" else "meta"):  # the paper's weights would take seconds
        network, reloaded = (SERNet(2, 3, (64, 48), STRIDES_2D, preset=preset, model_format=2) for _ in range(2))
    weights = {name.replace("seg_layers.", ""): weight for name, weight in network.state_dict().items()}
    shapes = {name: tuple(weights[name].shape) for name in TENSORS[preset]}
    assert shapes == TENSORS[preset]
    listed = "\n".join(f"{name} {tuple(weight.shape)} {weight.dtype}" for name, weight in weights.items())
    assert (len(weights), sha256(listed.encode()).hexdigest()[:16]) == STATE_DICTS[preset]
    reloaded.load_state_dict(weights)
    for name, weight in reloaded.state_dict().items():
        assert weight.is_meta or torch.equal(weight, network.state_dict()[name]), name


STRIDES_3D = [[1, 1, 1], [1, 2, 2], [2, 2, 2], [2, 2, 2]]


def test_3d_models_of_earlier_versions_stay_what_they_were():
    """The model format 2: names and shapes of all tensors, and six logits, as 0.3.0 had them."""
    kernels = [[1, 3, 3], [3, 3, 3], [3, 3, 3], [3, 3, 3]]
    network = SERNet(2, 3, (16, 32, 32), STRIDES_3D, kernel_sizes=kernels, model_format=2).eval()
    weights = {name.replace("seg_layers.", ""): weight for name, weight in network.state_dict().items()}
    listed = "\n".join(f"{name} {tuple(weight.shape)} {weight.dtype}" for name, weight in weights.items())
    assert (len(weights), sha256(listed.encode()).hexdigest()[:16]) == (364, "066960d69c0560df")
    with torch.no_grad():
        for parameter in network.parameters():
            wave = torch.arange(parameter.numel(), dtype=torch.float64).sin().reshape(parameter.shape).float()
            parameter.copy_(wave / parameter[0].numel() ** 0.5 if parameter.ndim > 1 else 1 + wave / 4)
        volume = (torch.arange(2 * 16 * 32 * 32, dtype=torch.float64) / 7).cos().float().reshape(1, 2, 16, 32, 32)
        logits = network(volume)[0, :, 5, 11, [3, 20]].flatten()
    expected = torch.tensor([1.873741, 1.951353, 2.222778, 2.098526, 0.058972, 0.017517])
    torch.testing.assert_close(logits, expected, atol=1e-3, rtol=1e-3)


def test_models_are_written_in_the_format_in_which_their_network_began():
    """The paper's network is that of 0.2.0, which reads it; 3D had another one in each of three formats."""
    formats = [
        architecture(patch, [], 1, preset)["arch_kwargs"]["model_format"]
        for patch, preset in (((32, 32), "light"), ((32, 32), "paper"), ((16, 32, 32), "light"))
    ]
    assert formats == [4, 2, 4]
    sizes = [count_parameters(SERNet(1, 2, (16, 32, 32), model_format=number)) for number in (2, 3, 4)]
    assert sizes[0] < sizes[1] < sizes[2] == count_parameters(SERNet(1, 2, (16, 32, 32)))


@pytest.mark.parametrize("size", [(32, 24), (30, 21), (16, 16, 16), (9, 18, 15)])
def test_brightness_and_contrast_of_a_scan_make_no_difference(size):
    """Also where the patch is padded for the strides. In format 3 they do, and the paper's network is unchanged."""
    patch = torch.randn(1, 2, *size, dtype=torch.float64)
    scale, shift = (torch.tensor(values).reshape(1, 2, *[1] * len(size)) for values in ((3.0, 0.5), (-2.0, 7.0)))
    for settings, same in (({}, True), ({"model_format": 3}, False), ({"preset": "paper"}, False)):
        network = SERNet(2, 2, (32,) * len(size), **settings).double().eval()
        with torch.no_grad():
            logits, other = network(patch), network(patch * scale + shift)
        assert torch.allclose(logits, other, rtol=0, atol=1e-5) == same, settings


@pytest.mark.parametrize(("size", "channels"), [((256, 256), 2), ((96, 96, 96), 2), ((96, 96, 96), 1)])
def test_patches_of_low_contrast_are_normalised_exactly(size, channels):
    """PyTorch's group normalisation of tensors whose channels are last was off by 10 and more on the CPU."""
    torch.manual_seed(0)
    noise = torch.randn(1, channels, *size)
    norm, last = PatchNorm(channels), CHANNELS_LAST[len(size)]
    for patch in (noise, noise * 0.003 - 0.7, noise * 100 + 30000, torch.full_like(noise, -3.3)):
        exact = PatchNorm(channels).double()(patch.double())
        found = norm(patch.contiguous(memory_format=last))
        assert torch.allclose(found.double(), exact, rtol=0, atol=2e-3)
        assert found.is_contiguous(memory_format=last)


def test_the_masks_of_a_cascade_are_no_image():
    """A mask that fills the patch is not the same as an empty one, whatever the image."""
    network = SERNet(2, 2, (16, 16, 16), image_channels=1).double().eval()
    image = torch.randn(1, 1, 16, 16, 16, dtype=torch.float64)
    empty, full = torch.zeros_like(image), torch.ones_like(image)
    with torch.no_grad():
        logits = [network(torch.cat([patch, mask], 1)) for patch in (image, image * 3 - 2) for mask in (empty, full)]
    assert torch.allclose(logits[0], logits[2], rtol=0, atol=1e-5)
    assert torch.allclose(logits[1], logits[3], rtol=0, atol=1e-5)
    assert not torch.allclose(logits[0], logits[1], rtol=0, atol=1e-3)


def test_a_checkpoint_without_a_label_dependent_layer_is_refused():
    network = SERNet(1, 2, (32, 32))
    weights = {name: weight for name, weight in network.state_dict().items() if not name.startswith("aggregator.last")}
    with pytest.raises(UserError, match=r"2 missing \(aggregator\.last\.weight, "):
        network.load_state_dict(weights)
    with pytest.raises(UserError, match=r"1 unknown \(aggregator\.last\.other, "):
        network.load_state_dict({**network.state_dict(), "aggregator.last.other": torch.zeros(1)})


def test_deep_supervision_and_unknown_presets_are_refused():
    with pytest.raises(NotImplementedError, match="no deep supervision"):
        SERNet(1, 2, (32, 32), deep_supervision=True)
    with pytest.raises(ValueError, match="unknown preset 'huge': expected one of light, paper"):
        SERNet(1, 2, (32, 32), preset="huge")
    with pytest.raises(ValueError, match="unknown preset 'huge': expected one of light, paper"):
        architecture((32, 32), STRIDES_2D, 1, "huge")
