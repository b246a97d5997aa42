"""What SAM does in a guided training step: the slices that it sees, its masks, and their losses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from nnunetv2.utilities.label_handling.label_handling import LabelManager

from ser_nnunet.network.layers import count_parameters, crop, pad_to_multiple
from ser_nnunet.network.ser_net import SERNet
from ser_nnunet.nnunet.base_trainer import mixed_precision
from ser_nnunet.sam.checkpoint import WHERE_TO_GET_IT, CheckpointError, load_sam
from ser_nnunet.sam.guide import SAMGuide
from ser_nnunet.training import losses
from ser_nnunet.training.balance import GradientBalance
from ser_nnunet.training.slices import GuidedSlices, choose_slices, cut_slices
from ser_nnunet.utils.printable import counted
from ser_nnunet.utils.variables import SAM_CHECKPOINT


@dataclass(frozen=True)
class GuidanceSettings:
    """How SAM guides a training.

    Attributes:
        checkpoint: path of SAM's checkpoint; None or empty where none is set.
        image_size: pixels at which SAM sees a slice; None is the checkpoint's own.
        channels: the image channels that SAM sees: one, or three as RGB.
        masked_channels: the channels that nnU-Net normalised inside the image's nonzero mask and sets to 0 outside;
            SAM sees black there.
        slices_per_step: how many slices of a batch pass through SAM at most.
        axes: of 3D patches: the axes across which they are cut into slices, in turn, one per step.
        distillation_weight: weight of `losses.sam_distillation`; 0 leaves it out.
        ratio: of L_seg's gradient norm to L_dist's (see `GradientBalance`); None gives L_seg the weight 1.
    """

    checkpoint: str | None
    image_size: int | None
    channels: tuple[int, ...]
    slices_per_step: int
    distillation_weight: float
    ratio: float | None
    masked_channels: tuple[int, ...] = ()
    axes: tuple[int, ...] = (0,)

    def check(self, data_channels: Sequence[str]) -> None:
        """Raise ValueError, with all reasons, if the settings don't fit the data set's channels or are impossible."""
        problems = []
        if len(self.channels) not in (1, 3) or not all(0 <= channel < len(data_channels) for channel in self.channels):
            problems.append(
                f"sam_channels = {self.channels}: SAM sees one channel or three as RGB, and this data set has the "
                f"{counted(len(data_channels), 'channel')} ({', '.join(data_channels)})"
            )
        if self.slices_per_step < 1:
            problems.append(f"sam_slices_per_step must be at least 1, {self.slices_per_step} given")
        if not self.axes or not set(self.axes) <= {0, 1, 2}:
            problems.append(f"sam_axes = {self.axes}: one or more of a 3D patch's axes 0, 1 and 2 expected")
        if problems:
            raise ValueError("; ".join(problems))


class GuidedStep(NamedTuple):
    """What SAM contributes to one step.

    Attributes:
        loss: what is added to L_dist, a scalar: L_seg and SAM distillation at their weights.
        seg_loss: L_seg without its weight, a scalar.
        overlap: true positives, false positives and false negatives of SAM's masks per class or region, `(3, P)`.
    """

    loss: torch.Tensor
    seg_loss: torch.Tensor
    overlap: torch.Tensor


class Guidance:
    """Frozen SAM in a training step, as the paper has it: SAM's mask decoder turns prompts into masks.

    Another kind of guidance is a subclass that `SERTrainer.build_guidance` returns. It overrides `select_slices`, which
    decides which 2D slices SAM sees, or `predict_masks`, which returns SAM's masks of these slices (from precomputed
    embeddings in `CachedGuidance`). Losses, weights and counts follow from the masks.

    Attributes:
        guide: SAM.
        settings: see there.
        seg_loss: L_seg of mask logits `(S, P, H, W)` and targets.
        balance: L_seg's weight where both losses train the prompt learner, otherwise None.
        fade: factor of all losses of SAM's masks, see `fading.fade`.
    """

    def __init__(
        self,
        guide: SAMGuide,
        settings: GuidanceSettings,
        labels: LabelManager,
        prompt_stride: tuple[int, ...],
        *,
        batch_dice: bool,
        ddp: bool,
    ) -> None:
        self.guide = guide
        self.settings = settings
        self.labels = labels
        self.prompt_stride = prompt_stride
        self.seg_loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = losses.build_seg_loss(
            labels, batch_dice, ddp
        )
        self.balance = None if settings.ratio is None else GradientBalance(settings.ratio)
        self.measured_this_epoch = False
        self.steps = 0
        self.fade = 1.0

    @property
    def weight(self) -> float:
        """L_seg's weight."""
        return self.fade * (1.0 if self.balance is None else self.balance.weight)

    def describe(self) -> str:
        """Return which SAM guides and what it sees, for the log."""
        return (
            f"{self.settings.checkpoint}, {count_parameters(self.guide.sam) / 1e6:.1f} M frozen parameters, "
            f"{self.guide.image_size} pixels, channel(s) {self.settings.channels}, "
            f"up to {self.settings.slices_per_step} slices per step"
            + (f" across axis {' / '.join(map(str, self.settings.axes))}" if len(self.prompt_stride) == 3 else "")
        )

    def start_epoch(self, fade: float = 1.0) -> None:
        """Let L_seg's weight be measured again, on the first batch of the epoch that allows it; set the fade."""
        self.fade = fade
        self.measured_this_epoch = False
        self.steps = 0

    def update_weight(
        self,
        network: SERNet,
        dist_loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
        data: torch.Tensor,
        target: torch.Tensor,
        scaler: torch.amp.GradScaler | None,
    ) -> None:
        """Measure L_seg's weight on a batch, unless it is fixed or this epoch's measurement has succeeded already.

        The bare network makes a forward pass of its own: DDP's hooks must see the step's backward pass alone, and a
        compiled network's graph allows one backward pass.

        Args:
            network: in training mode, without the wrappers of DDP and torch.compile.
            dist_loss: L_dist of the network's logits and nnU-Net's target.
            data: images of nnU-Net's batch on the device.
            target: the batch's target.
            scaler: the gradient scaler of mixed precision, if there is one.
        """
        if self.balance is None or self.measured_this_epoch:
            return
        patches = self.add_patches(data)
        with mixed_precision(data.device):
            logits, prompt = network(patches)
            seg_loss = self.step(patches, prompt, logits, target).seg_loss
            loss = dist_loss(logits[: len(target)], target)
        scale: Callable[[torch.Tensor], torch.Tensor] = (lambda loss: loss) if scaler is None else scaler.scale
        parameters = network.prompt_learner.parameters()
        self.measured_this_epoch = self.balance.measure(loss, seg_loss, parameters, scale)

    def add_patches(self, data: torch.Tensor) -> torch.Tensor:
        """Return the patches that the network gets in a step: nnU-Net's batch, and none more here."""
        return data

    def step(self, data: torch.Tensor, prompt: torch.Tensor, logits: torch.Tensor, target: torch.Tensor) -> GuidedStep:
        """Return the losses of SAM's masks for one batch, and their overlap with the annotation.

        Args:
            data: images `(B, C, H, W)` as from `add_patches`, or `(B, C, D, H, W)` and the same for all others.
            prompt: the network's prompts `(B, P, 256, H/stride, W/stride)`.
            logits: the network's output `(B, K, H, W)`.
            target: nnU-Net's, of its own batch, see `losses.binary_targets`.
        """
        slices = self.select_slices(data, prompt, logits, target)
        self.steps += 1
        return self.sum_losses(slices, self.predict_masks(slices))

    def sum_losses(self, slices: GuidedSlices, masks: torch.Tensor) -> GuidedStep:
        """Return the losses of SAM's mask logits `(S, P, H, W)` of slices, and their overlap with the annotation."""
        seg_loss = self.seg_loss(masks, slices.targets)
        overlap = losses.count_overlap(masks.detach(), slices.targets, self.labels)
        loss = self.weight * seg_loss
        if self.settings.distillation_weight:
            # Weighted by the masks' Dice, so that wrong masks contribute little; 0 where no class occurs (NaN).
            quality = losses.mean_dice(overlap).nan_to_num(0.0)
            distillation = losses.sam_distillation(slices.logits, masks, self.labels)
            loss = loss + self.fade * self.settings.distillation_weight * quality * distillation
        return GuidedStep(loss, seg_loss, overlap)

    def select_slices(
        self, data: torch.Tensor, prompt: torch.Tensor, logits: torch.Tensor, target: torch.Tensor
    ) -> GuidedSlices:
        """Return the slices that SAM sees of a batch of slices or of 3D patches (arguments as in `step`)."""
        targets, limit = losses.binary_targets(target, self.labels), self.settings.slices_per_step
        if len(self.prompt_stride) == 3:
            axis = self.settings.axes[self.steps % len(self.settings.axes)]
            patches = (data, prompt, logits, targets)
            return cut_slices(*patches, self.labels, self.prompt_stride, axis, limit, self.steps)
        chosen = choose_slices(targets, self.labels, limit)
        rows, columns = self.prompt_stride
        return GuidedSlices(data[chosen], prompt[chosen], logits[chosen], targets[chosen], (rows, columns))

    def predict_masks(self, slices: GuidedSlices) -> torch.Tensor:
        """Return SAM's mask logits `(S, P, H, W)`, differentiable in the prompts."""
        # The part of the image plane that the prompt covers. Filled with 0 it would have a margin of mean grey.
        picture = pad_to_multiple(slices.data, slices.prompt_stride, mode="replicate")
        masks = self.guide(picture, slices.prompt, self.settings.channels, self.settings.masked_channels)
        return crop(masks, slices.data.shape[2:])


def step_without_sam(num_prompts: int) -> GuidedStep:
    """Return the contribution of an unguided step: no loss, L_seg undefined (NaN), nothing counted."""
    counts = torch.zeros(3, num_prompts, dtype=torch.long)
    return GuidedStep(torch.tensor(0.0), torch.tensor(float("nan")), counts)


def load_guide(settings: GuidanceSettings, device: torch.device, trainer: str) -> SAMGuide:
    """Load SAM onto a device; no random numbers are drawn, so that a seed gives guided and unguided networks alike.

    Args:
        settings: which checkpoint, and at which image size.
        device: where SAM computes.
        trainer: the trainer's name, for the message.

    Raises:
        CheckpointError: no checkpoint is set, or it can't be used.
    """
    if not settings.checkpoint:
        raise CheckpointError(
            f"{trainer} is guided by SAM, and the environment variable {SAM_CHECKPOINT} isn't set. "
            f"Set it to a checkpoint (export {SAM_CHECKPOINT}=/path/to/sam_vit_b_01ec64.pth), or train without "
            f"SAM: -tr SERTrainerNoSAM. {WHERE_TO_GET_IT}"
        )
    with torch.random.fork_rng(devices=[]):
        return SAMGuide(load_sam(settings.checkpoint, settings.image_size).to(device))
