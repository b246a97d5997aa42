"""What SAM does in a step: the slices it sees, the losses of its masks, L_seg's weight, and other kinds of guidance."""

import math
from dataclasses import replace

import pytest
import torch
from nnunetv2.utilities.label_handling.label_handling import LabelManager

from ser_nnunet.sam.checkpoint import CheckpointError, load_sam
from ser_nnunet.sam.guide import SAMGuide
from ser_nnunet.training.balance import gradient_norm
from ser_nnunet.training.guidance import Guidance, GuidanceSettings, load_guide
from ser_nnunet.training.losses import sam_distillation
from ser_nnunet.training.slices import GuidedSlices
from ser_nnunet.training.trainer import SERTrainer
from ser_nnunet.training.variants import SERTrainerJoint, SERTrainerTwoPhases
from tests.training.helpers import ALONE, GUIDED, silence, start_epoch

LABELS = LabelManager({"background": 0, "one": 1, "two": 2}, None)
SETTINGS = GuidanceSettings(None, None, (0,), slices_per_step=2, distillation_weight=0.0, ratio=None)


class GivenMasks(Guidance):
    """SAM's masks are given instead of predicted."""

    masks: torch.Tensor

    def predict_masks(self, slices):
        return self.masks[: len(slices.data)]


def build(sam_file, kind=Guidance, settings=SETTINGS, stride=(4, 4)):
    return kind(SAMGuide(load_sam(sam_file)), settings, LABELS, stride, batch_dice=True, ddp=False)


def random_step(batch_size=4, size=(32, 32), classes=3):
    """The arguments of a step: data, prompt, logits and target."""
    generator = torch.Generator().manual_seed(0)
    grid = [-(-edge // 4) for edge in size]
    target = torch.randint(0, classes, (batch_size, 1, *size), generator=generator)
    return (
        torch.randn(batch_size, 1, *size, generator=generator),
        torch.rand(batch_size, 2, 256, *grid, generator=generator).requires_grad_(),
        torch.randn(batch_size, 3, *size, generator=generator).requires_grad_(),
        target,
    )


def perfect_masks(target):
    return torch.cat([(target == label).float() * 20 - 10 for label in (1, 2)], 1)


def test_l_seg_reaches_the_prompts_of_the_chosen_slices_alone(sam_file):
    data, prompt, logits, target = random_step()
    target[1] = 0
    step = build(sam_file).step(data, prompt, logits, target)
    assert step.loss == step.seg_loss, "L_seg has the weight 1 where it alone trains the prompt learner"
    step.loss.backward()
    reached = prompt.grad.flatten(1).any(1).tolist()
    assert sum(reached) == 2 and not reached[1] and logits.grad is None


def test_sam_sees_no_more_slices_than_allowed(sam_file):
    guidance = build(sam_file)
    seen = []
    guidance.guide.sam.image_encoder.register_forward_hook(lambda module, inputs, output: seen.append(len(output)))
    guidance.step(*random_step(batch_size=4))
    assert sum(seen) == 2


def test_a_patch_that_is_no_multiple_of_the_stride_is_guided(sam_file):
    data, prompt, logits, target = random_step(size=(30, 37))
    guidance = build(sam_file)
    masks = guidance.predict_masks(guidance.select_slices(data, prompt, logits, target))
    assert masks.shape == (2, 2, 30, 37)


def shown_picture(guidance, data):
    """What SAM's image encoder gets of a batch, in 0 to 1 of what black and white become there."""
    seen = []
    guidance.guide.sam.image_encoder.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    prompt = torch.rand(len(data), 2, 256, -(-data.shape[2] // 4), -(-data.shape[3] // 4))
    guidance.predict_masks(GuidedSlices(data, prompt, data, data, (4, 4)))
    black, white = (guidance.guide.sam.preprocess(torch.full((3, 64, 64), grey)) for grey in (0.0, 255.0))
    return ((torch.cat(seen) - black) / (white - black))[:, 0]


def test_sam_sees_black_outside_of_nnunets_mask(sam_file):
    data = torch.zeros(1, 1, 64, 64)
    data[..., :32] = torch.randn(64, 32, generator=torch.Generator().manual_seed(0)) + 3
    data[..., 60:] = torch.randn(64, 4, generator=torch.Generator().manual_seed(0)) - 3  # no edge of a single value
    for masked_channels, darkest in ((), False), ((0,), True):
        guidance = build(sam_file, settings=replace(SETTINGS, masked_channels=masked_channels))
        middle = shown_picture(guidance, data)[0, :, 34:58]
        assert (middle.abs() < 1e-4).all() == darkest


def test_a_patch_is_extended_to_whole_cells_by_its_last_pixels(sam_file):
    """Zeros would show SAM a margin of mean grey."""
    data = torch.linspace(-4, 4, 62).expand(1, 1, 62, 62).clone()
    picture = shown_picture(build(sam_file), data)[0]
    assert (picture[:, -3:] > 0.95).all() and (picture[-1] - picture[30]).abs().max() < 1e-4


def test_the_masked_channels_are_those_of_the_plan(make_trainer):
    assert make_trainer(initialize=False).guidance_settings.masked_channels == ()
    trainer = make_trainer(initialize=False, use_mask_for_norm=[False, True, True])
    assert trainer.guidance_settings.masked_channels == (1, 2)


def test_the_overlap_counts_sams_masks_on_the_chosen_slices(sam_file):
    data, prompt, logits, target = random_step(batch_size=2)
    guidance = build(sam_file, GivenMasks)
    guidance.masks = perfect_masks(target)
    guidance.masks[:, 1] = -10  # of the second class nothing
    one, two = ((target == label).sum().item() for label in (1, 2))
    assert guidance.step(data, prompt, logits, target).overlap.tolist() == [[one, 0], [0, 0], [0, two]]


class TestDistillation:
    """The network's output is drawn towards SAM's masks as far as these agree with the annotation."""

    def contribution(self, sam_file, masks, arguments):
        guidance = build(sam_file, GivenMasks, replace(SETTINGS, distillation_weight=2.0))
        guidance.masks = masks
        step = guidance.step(*arguments)
        return (step.loss - step.seg_loss).item()

    def test_perfect_masks_count_in_full(self, sam_file):
        data, prompt, logits, target = random_step(batch_size=2)
        masks = perfect_masks(target)
        expected = 2 * sam_distillation(logits, masks, LABELS).item()
        assert self.contribution(sam_file, masks, (data, prompt, logits, target)) == pytest.approx(expected, rel=1e-4)

    def test_wrong_masks_dont_count(self, sam_file):
        data, prompt, logits, target = random_step(batch_size=2)
        assert self.contribution(sam_file, -perfect_masks(target), (data, prompt, logits, target)) == 0

    def test_slices_without_any_class_dont_count(self, sam_file):
        data, prompt, logits, target = random_step(batch_size=2)
        masks = torch.full((2, 2, 32, 32), -10.0)
        assert self.contribution(sam_file, masks, (data, prompt, logits, target * 0)) == 0


class TestWeight:
    """With `joint`, L_seg's weight is measured on the first batch of an epoch."""

    @pytest.fixture
    def make_joint(self, make_trainer, sam_checkpoint):
        """Build a trainer in a guided epoch, whose SAM gives L_seg a large gradient, as a trained one does."""

        def make():
            trainer = make_trainer(SERTrainerJoint)
            start_epoch(trainer, GUIDED)
            plain = trainer.guidance.seg_loss
            trainer.guidance.seg_loss = lambda *arguments: 1000 * plain(*arguments)
            return trainer

        return make

    @pytest.fixture
    def trainer(self, make_joint):
        return make_joint()

    def test_a_compiled_l_dist_can_be_measured(self, trainer, make_batch):
        """nnU-Net compiles L_dist's Dice on a GPU; a compiled graph allows one backward pass."""
        trainer.loss.dc = torch.compile(trainer.loss.dc, backend="aot_eager")
        batch = make_batch()
        logits, _ = trainer.ser_net(batch["data"])
        trainer.loss(logits, batch["target"]).backward()  # compiles the backward pass as an ordinary training does
        trainer.train_step(batch)
        assert trainer.guidance.weight < trainer.guidance_ratio

    def test_a_failed_measurement_is_repeated_in_the_next_step(self, trainer, make_batch, monkeypatch):
        answers = iter([False, True])
        calls = []
        monkeypatch.setattr(trainer.guidance.balance, "measure", lambda *_: calls.append(1) or next(answers))
        for _ in range(3):
            trainer.train_step(make_batch())
        assert len(calls) == 2

    def test_an_epoch_measures_once(self, trainer, make_batch):
        weights = []
        for epoch in range(2):
            start_epoch(trainer, epoch)
            for _ in range(2):
                trainer.train_step(make_batch())
                weights.append(trainer.guidance.weight)
        assert weights[0] == weights[1] != weights[2] == weights[3]

    def learner_gradient(self, trainer, batch, silenced):
        """Return the norm of the prompt learner's gradient with one loss silenced, before clipping."""
        norms, learner = [], list(trainer.ser_net.prompt_learner.parameters())
        trainer.backward_and_step = lambda loss: norms.append(float(gradient_norm(loss, learner)))
        trainer.guidance.update_weight(trainer.ser_net, trainer.loss, batch["data"], batch["target"], None)
        silence(trainer, silenced)
        trainer.train_step(batch)
        assert trainer.guidance.weight < trainer.guidance_ratio
        return norms[0]

    def test_l_segs_gradient_has_the_requested_share_of_l_dists(self, make_joint, make_batch):
        seg = self.learner_gradient(make_joint(), make_batch(), "L_dist")
        dist = self.learner_gradient(make_joint(), make_batch(), "L_seg")
        assert seg == pytest.approx(SERTrainerJoint.guidance_ratio * dist, rel=0.01)


class TestLoading:
    """Where SAM comes from, and what is reported when it can't be used."""

    def test_without_a_checkpoint_the_message_says_what_to_do(self):
        with pytest.raises(CheckpointError) as error:
            load_guide(SETTINGS, torch.device("cpu"), "SERTrainerX")
        for part in ("SERTrainerX", "SER_SAM_CHECKPOINT", "https://github.com/facebookresearch", "-tr SERTrainerNoSAM"):
            assert part in str(error.value)

    def test_loading_sam_draws_no_random_numbers(self, sam_file):
        """Otherwise a guided and an unguided training would start from other weights, whatever the seed."""
        torch.manual_seed(7)
        expected = torch.rand(3)
        torch.manual_seed(7)
        load_guide(replace(SETTINGS, checkpoint=str(sam_file)), torch.device("cpu"), "SERTrainer")
        assert torch.equal(torch.rand(3), expected)

    def test_sam_sees_slices_at_the_requested_size(self, sam_file):
        settings = replace(SETTINGS, checkpoint=str(sam_file), image_size=32)
        assert load_guide(settings, torch.device("cpu"), "SERTrainer").image_size == 32


@pytest.mark.parametrize("channels", [(0, 0), (0, 0, 1), (3,), (-1,), ()])
def test_channels_that_dont_exist_are_refused(channels):
    with pytest.raises(ValueError, match=r"one channel or three as RGB.*1 channel \(FLAIR\)"):
        replace(SETTINGS, channels=channels).check(["FLAIR"])


def test_all_impossible_settings_are_reported_at_once():
    with pytest.raises(
        ValueError, match=r"one channel or three as RGB.*sam_slices_per_step must be at least 1, 0 given"
    ):
        replace(SETTINGS, channels=(5,), slices_per_step=0).check(["FLAIR"])


class MiddleSlice(Guidance):
    """Another choice of slices: the middle ones of 3D patches."""

    def select_slices(self, data, prompt, logits, target):
        middle = data.shape[2] // 2
        targets = torch.cat([target == label for label in self.labels.foreground_labels], 1)
        chosen = (data[:, :, middle], prompt[:, :, :, middle // 4], logits[:, :, middle], targets[:, :, middle])
        return GuidedSlices(*chosen, prompt_stride=(4, 4))


def random_3d_step(batch_size=2, size=(8, 32, 16), stride=(4, 4, 4), foreground_axis=None, position=None):
    """The arguments of a step on 3D patches; foreground everywhere, or in one slice across an axis."""
    data, prompt, logits, target = random_step(batch_size, size)
    grid = [edge // step for edge, step in zip(size, stride, strict=True)]
    prompt = torch.rand(batch_size, 2, 256, *grid, generator=torch.Generator().manual_seed(1)).requires_grad_()
    if foreground_axis is not None:
        kept = torch.zeros_like(target)
        kept.select(2 + foreground_axis, position).fill_(1)
        target = target.clamp_min(1) * kept
    return data, prompt, logits, target


def test_a_subclass_may_choose_slices_of_3d_patches(sam_file):
    data, prompt, logits, target = random_3d_step()
    step = build(sam_file, MiddleSlice).step(data, prompt, logits, target)
    step.loss.backward()
    assert math.isfinite(step.seg_loss.item()) and prompt.grad[:, :, :, 1].any() and not prompt.grad[:, :, :, 0].any()
    assert step.overlap.sum() > 0


class TestThreeDimensions:
    """SAM sees slices of 3D patches; their dense prompts are the slices of the prompt in which they lie."""

    @pytest.mark.parametrize(("axis", "position"), [(0, 5), (1, 18), (2, 3)])
    def test_a_slice_of_a_patch_is_guided_as_the_same_slice_of_a_2d_batch(self, sam_file, axis, position):
        data, prompt, logits, target = random_3d_step(foreground_axis=axis, position=position)
        solid = build(sam_file, settings=replace(SETTINGS, axes=(axis,)), stride=(4, 4, 4))
        flat = build(sam_file)
        cut = [part.select(part.ndim - 3 + axis, position) for part in (data, logits, target)]
        expected = flat.step(cut[0], prompt.select(3 + axis, position // 4), cut[1], cut[2])
        found = solid.step(data, prompt, logits, target)
        torch.testing.assert_close(found.seg_loss, expected.seg_loss)
        assert torch.equal(found.overlap, expected.overlap)

    def test_the_gradient_reaches_the_prompts_slice_alone(self, sam_file):
        data, prompt, logits, target = random_3d_step(foreground_axis=1, position=18)
        settings = replace(SETTINGS, axes=(1,), slices_per_step=1)
        build(sam_file, settings=settings, stride=(4, 4, 4)).step(data, prompt, logits, target).loss.backward()
        reached = prompt.grad.flatten(1, 3).flatten(3).any(3).any(1)  # batch x rows of the prompt
        assert reached.sum() == 1 and reached[:, 18 // 4].sum() == 1

    def test_the_axes_take_turns(self, sam_file):
        guidance = build(sam_file, settings=replace(SETTINGS, axes=(0, 2)), stride=(4, 4, 4))
        arguments, sizes = random_3d_step(), []
        for _ in range(3):
            sizes.append(tuple(guidance.select_slices(*arguments).data.shape[2:]))
            guidance.step(*arguments)
        assert sizes == [(32, 16), (8, 32), (32, 16)]

    def test_anisotropic_prompts_have_the_strides_of_their_slices(self, sam_file):
        arguments = random_3d_step(stride=(1, 4, 2))
        slices = build(sam_file, stride=(1, 4, 2)).select_slices(*arguments)
        assert slices.prompt_stride == (4, 2) and slices.prompt.shape[2:] == (256, 8, 8)

    def test_guidance_throughout_weighs_both_losses(self, make_trainer, make_batch, sam_checkpoint):
        """Their gradients are measured on one graph, of which the backward pass computes parts again, twice."""
        trainer = make_trainer(SERTrainer, "classes", configuration="3d_fullres", patch=(16, 32, 32))
        start_epoch(trainer, 0)
        for _ in range(2):
            result = trainer.train_step(make_batch("classes", 2, (16, 32, 32)))
            assert math.isfinite(result["loss_seg"]) and math.isfinite(result["loss_dist"])
        assert 0 < trainer.guidance.weight < 1
        averages = {name: count for name, count in trainer.network.named_buffers() if name.endswith("tracked")}
        assert averages and set(map(int, averages.values())) == {3}, "two steps, and the pass that is measured"

    @pytest.mark.parametrize("dataset", ["classes", "ignore", "regions", "regions_ignore"])
    def test_both_phases_of_a_training(self, make_trainer, make_batch, sam_checkpoint, dataset):
        trainer = make_trainer(dataset=dataset, configuration="3d_fullres", patch=(16, 32, 32))
        batch = make_batch(dataset, 2, (16, 32, 32))
        for epoch, guided in ((GUIDED, True), (ALONE, False)):
            start_epoch(trainer, epoch)
            result = trainer.train_step(batch)
            assert math.isfinite(result["loss"]) and math.isfinite(result["loss_seg"]) == guided
            assert (result["guided_overlap"].sum() > 0) == guided
            learner = [parameter.grad for parameter in trainer.ser_net.prompt_learner.parameters()]
            assert any(gradient is not None and gradient.any() for gradient in learner)

    def test_what_the_cascade_adds_is_not_shown_to_sam(self, make_trainer, sam_checkpoint):
        """The channels of the previous stage's classes come after the image's; SAM can't be pointed at them."""

        class SecondChannel(SERTrainerTwoPhases):
            sam_channels = (1,)

        plan = {"configuration": "3d_cascade_fullres", "patch": (16, 32, 32), "previous_stage": "3d_lowres"}
        with pytest.raises(ValueError, match="1 channel"):
            make_trainer(SecondChannel, **plan)
        trainer = make_trainer(**plan)
        start_epoch(trainer, GUIDED)
        data, target = torch.randn(2, 2, 16, 32, 32), torch.randint(0, 2, (2, 1, 16, 32, 32))
        shown = []
        trainer.guidance.guide.sam.image_encoder.register_forward_pre_hook(lambda module, seen: shown.append(seen[0]))
        for previous_stage in (0.0, 1.0):
            data[:, 1] = previous_stage
            trainer.guidance.start_epoch()
            trainer.train_step({"data": data, "target": target})
        first, second = shown[: len(shown) // 2], shown[len(shown) // 2 :]
        assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))

    def test_impossible_axes_are_refused(self):
        for axes in ((), (3,), (-1,)):
            with pytest.raises(ValueError, match=r"sam_axes = .*axes 0, 1 and 2 expected"):
                replace(SETTINGS, axes=axes).check(["FLAIR"])


class InsteadOfSAM(SERTrainerTwoPhases):
    """A trainer with guidance of its own, which needs no checkpoint in SER_SAM_CHECKPOINT."""

    def build_guidance(self):
        class CustomGuidance(Guidance):
            def predict_masks(self, slices):
                return slices.prompt.mean(2).repeat_interleave(4, 2).repeat_interleave(4, 3)

        settings = replace(self.guidance_settings, checkpoint="none")
        return CustomGuidance(self.sam, settings, self.label_manager, (4, 4), batch_dice=True, ddp=False)


def test_a_trainer_may_bring_its_own_guidance(make_trainer, make_batch, sam_file, monkeypatch):
    monkeypatch.delenv("SER_SAM_CHECKPOINT", raising=False)
    trainer = make_trainer(InsteadOfSAM)
    trainer.sam = SAMGuide(load_sam(sam_file))
    start_epoch(trainer, GUIDED)
    values = [float(trainer.train_step(make_batch())["loss_seg"]) for _ in range(5)]
    assert values[-1] < values[0]
