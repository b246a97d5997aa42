"""SERTrainer: nnU-Net's trainer with SERNet as network and frozen SAM as a teacher in the first phase."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.collate_outputs import collate_outputs
from nnunetv2.utilities.helpers import empty_cache

from ser_nnunet.network.layers import crop, pad_to_multiple
from ser_nnunet.network.ser_net import SERNet
from ser_nnunet.sam.checkpoint import WHERE_TO_GET_IT, CheckpointError, load_sam
from ser_nnunet.sam.guide import SAMGuide
from ser_nnunet.training import losses
from ser_nnunet.training.balance import GradientBalance
from ser_nnunet.training.learning_rate import PhasedPolyLRScheduler
from ser_nnunet.training.schedule import LossSchedule, two_phases
from ser_nnunet.training.sernet_plans import name_network
from ser_nnunet.utils.variables import SAM_CHECKPOINT

LOGGED = ("train_losses_seg", "train_losses_dist", "guided_dice")  # one value per epoch each; NaN where SAM is off


class SERTrainer(nnUNetTrainer):
    """The paper's two phases with the light network: SAM guides the first, the second trains without it.

    Settings are class attributes, as in nnU-Net's own variants: derive, change one, and name the class after it.

    Attributes:
        preset: SERNet's preset, `light` or `paper`.
        epochs, iterations_per_epoch, val_iterations_per_epoch: as nnU-Net's.
        learning_rate, decay: of AdamW, with nnU-Net's polynomial schedule. Unless `joint`, both start anew in the
            second phase: AdamW's memory of L_seg's longer gradients would keep L_dist's steps short.
        guided_fraction: share of the epochs in the guided phase (200 of 300 in the paper).
        joint: train everything by L_dist in the guided phase too.
        guidance_ratio: with `joint`, L_seg is weighted so that the norm of its gradient in the prompt learner is this
            many times L_dist's at most, measured every epoch. Without `joint` the prompt learner hears L_seg alone, at
            weight 1.
        sam_distillation_weight: weight of the cross-entropy of the network's output towards SAM's own masks in the
            guided phase, multiplied by those masks' Dice in the step (an extension of ours; 0 in the paper and by
            default). It reaches the prompt learner with `joint` alone.
        sam_channels: image channels that SAM sees: one (shown three times over, as in the paper) or three as RGB.
        sam_image_size: pixels at which SAM sees a slice; None is the checkpoint's own (1024). Encoding it takes most of
            a guided step's time, and 512 means a quarter of the encoder's tokens, 256 a sixteenth.
        sam_slices_per_step: slices of a batch (on each GPU) that pass through SAM at most; the rest trains the
            aggregator alone, with `joint` the whole network.
    """

    preset = "light"
    epochs = 1000
    iterations_per_epoch = 250
    val_iterations_per_epoch = 50
    learning_rate = 2e-3
    decay = 3e-5
    guided_fraction = 2 / 3
    joint = False
    guidance_ratio = 0.1
    sam_distillation_weight = 0.0
    sam_channels: tuple[int, ...] = (0,)
    sam_image_size: int | None = None
    sam_slices_per_step = 4

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),  # noqa: B008 (nnU-Net's signature)
    ) -> None:
        plans = name_network(plans, configuration, dataset_json, self.preset)
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs = self.epochs
        self.num_iterations_per_epoch = self.iterations_per_epoch
        self.num_val_iterations_per_epoch = self.val_iterations_per_epoch
        self.initial_lr, self.weight_decay = self.learning_rate, self.decay
        self.enable_deep_supervision = False
        self.guide: SAMGuide | None = None  # never below self.network: nothing of SAM belongs in a checkpoint
        self.balanced_epoch = -1
        for key in LOGGED:
            self.logger.local_logger.my_fantastic_logging[key] = []

    @property
    def schedule(self) -> LossSchedule:
        """Which loss counts when; follows `num_epochs`, so that a shortened training keeps both phases."""
        return two_phases(self.num_epochs, self.guided_fraction, self.joint)

    @property
    def ser_net(self) -> SERNet:
        """The bare network under DDP's and torch.compile's wrappers."""
        module: Any = self.network.module if self.is_ddp else self.network
        return getattr(module, "_orig_mod", module)

    def initialize(self) -> None:
        """Build everything as nnU-Net does, plus L_seg; refuse what SERNet doesn't have."""
        if self.enable_deep_supervision:
            raise NotImplementedError("SERNet has no deep supervision: set enable_deep_supervision = False")
        super().initialize()
        self._check_sam_channels()
        self.balance = GradientBalance(self.guidance_ratio)
        self.seg_loss = losses.build_seg_loss(self.label_manager, self.configuration_manager.batch_dice, self.is_ddp)

    def _check_sam_channels(self) -> None:
        exist = all(0 <= channel < self.num_input_channels for channel in self.sam_channels)
        if len(self.sam_channels) not in (1, 3) or not exist:
            raise ValueError(
                f"sam_channels = {self.sam_channels}: SAM sees one channel or three as RGB, and this data set has the "
                f"{self.num_input_channels} channel(s) {self.dataset_json.get('channel_names')}"
            )

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, Any]:
        """Return AdamW (nnU-Net's SGD suits its U-Net and few other networks) and nnU-Net's schedule for each phase."""
        optimizer = torch.optim.AdamW(self.network.parameters(), self.initial_lr, weight_decay=self.weight_decay)
        return optimizer, self.build_lr_scheduler(optimizer)

    def build_lr_scheduler(self, optimizer: torch.optim.Optimizer) -> PhasedPolyLRScheduler:
        """Return nnU-Net's polynomial decay, once for every phase in which the prompt learner has another teacher."""
        return PhasedPolyLRScheduler(optimizer, self.initial_lr, self.num_epochs, self.restart_epoch)

    @property
    def restart_epoch(self) -> int:
        """The epoch in which the prompt learner gets another teacher; 0 or the number of epochs if it doesn't."""
        return 0 if self.joint else self.schedule.guided_epochs

    def set_deep_supervision_enabled(self, enabled: bool) -> None:
        """Do nothing: there is none (nnU-Net's own reaches for its U-Net's decoder)."""

    def on_train_start(self) -> None:
        """Load SAM before anything slow happens, so that a missing or broken checkpoint shows at once."""
        if self.schedule.guided(self.current_epoch):
            self._load_guide()
        super().on_train_start()

    def _load_guide(self) -> None:
        path = os.environ.get(SAM_CHECKPOINT)
        if not path:
            raise CheckpointError(
                f"{type(self).__name__} is guided by SAM, and the environment variable {SAM_CHECKPOINT} isn't set. "
                f"Set it to a checkpoint (export {SAM_CHECKPOINT}=/path/to/sam_vit_b_01ec64.pth), or train without "
                f"SAM: -tr SERTrainerNoSAM. {WHERE_TO_GET_IT}"
            )
        with torch.random.fork_rng(devices=[]):  # so that one seed gives guided and unguided networks the same weights
            sam = load_sam(path, self.sam_image_size).to(self.device)
        self.guide = SAMGuide(sam)
        millions = sum(parameter.numel() for parameter in sam.parameters()) / 1e6
        self.print_to_log_file(
            f"SAM guides epochs 0 to {self.schedule.guided_epochs - 1} of {self.num_epochs}: {path}, "
            f"{millions:.1f} M frozen parameters, {self.guide.image_size} pixels, "
            f"channel(s) {self.sam_channels}, up to {self.sam_slices_per_step} slices per step"
        )

    def on_train_epoch_start(self) -> None:
        """Switch the phase: which gradients flow, whether SAM is in memory, and what the optimiser remembers."""
        super().on_train_epoch_start()
        guided = self.schedule.guided(self.current_epoch)
        if guided and self.guide is None:
            self._load_guide()
        if not guided:
            self._release_guide()
        if 0 < self.restart_epoch == self.current_epoch:
            self.optimizer.state.clear()

    def on_train_end(self) -> None:
        """Release SAM before the final validation, which needs the memory (a training may be guided throughout)."""
        self._release_guide()
        super().on_train_end()

    def _release_guide(self) -> None:
        if self.guide is not None:
            self.guide = None
            empty_cache(self.device)
            self.print_to_log_file("The guided phase is over: SAM has left memory")

    def train_step(self, batch: dict) -> dict:
        """One step of nnU-Net's, with L_seg added while SAM guides."""
        data = batch["data"].to(self.device, non_blocking=True)
        target = batch["target"].to(self.device, non_blocking=True)
        self.optimizer.zero_grad(set_to_none=True)
        balance = self._balance(data, target) if self.joint and self.guide is not None else 1.0
        with self._precision():
            logits, prompt = self.network(data, detach_prompt=self.schedule.detached(self.current_epoch))
            dist_loss = self.loss(logits, target)
            seg_loss, imitation, overlap = self._guided_losses(data, logits, prompt, target)
            seg_weight, dist_weight = self.schedule.weights(self.current_epoch)
            loss = dist_weight * dist_loss
            if self.guide is not None:
                loss = loss + seg_weight * (balance * seg_loss + self.sam_distillation_weight * imitation)
        self._descend(loss)
        return {
            "loss": loss.detach().cpu().numpy(),
            "loss_seg": seg_loss.detach().cpu().numpy(),
            "loss_dist": dist_loss.detach().cpu().numpy(),
            "guided_overlap": overlap.cpu().numpy(),
        }

    def _precision(self) -> AbstractContextManager:
        return torch.autocast("cuda", enabled=True) if self.device.type == "cuda" else nullcontext()

    def _balance(self, data: torch.Tensor, target: torch.Tensor) -> float:
        """Return L_seg's weight, measured on the first batch of every epoch that allows it.

        By the bare network and a forward pass of its own: DDP's hooks are to see the step's backward pass alone, and a
        compiled network's graph can be gone through once.
        """
        if self.balanced_epoch != self.current_epoch:
            with self._precision():
                logits, prompt = self.ser_net(data)
                seg_loss, *_ = self._guided_losses(data, logits, prompt, target)
                dist_loss = self.loss(logits, target)
            scale = (lambda loss: loss) if self.grad_scaler is None else self.grad_scaler.scale
            if self.balance.measure(dist_loss, seg_loss, self.ser_net.prompt_learner.parameters(), scale):
                self.balanced_epoch = self.current_epoch
        return self.balance.weight

    def _guided_losses(
        self, data: torch.Tensor, logits: torch.Tensor, prompt: torch.Tensor, target: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return L_seg, the imitation loss and the masks' overlap counts `(3, P)`; NaN and zeros when SAM is off."""
        if self.guide is None:
            nothing = torch.tensor(float("nan"))
            return nothing, nothing, torch.zeros(3, prompt.shape[1], dtype=torch.long)
        targets = losses.binary_targets(target, self.label_manager)
        chosen = losses.choose_slices(targets, self.label_manager, self.sam_slices_per_step)
        picture = pad_to_multiple(data[chosen], self.ser_net.prompt_learner.prompt_stride)  # what the prompt covers
        masks = crop(self.guide(picture, prompt[chosen], self.sam_channels), data.shape[2:])
        overlap = losses.count_overlap(masks.detach(), targets[chosen], self.label_manager)
        imitation = masks.new_zeros(())
        if self.sam_distillation_weight:
            imitation = losses.quality(overlap) * losses.sam_distillation(logits[chosen], masks, self.label_manager)
        return self.seg_loss(masks, targets[chosen]), imitation, overlap

    def _descend(self, loss: torch.Tensor) -> None:
        """Backward, gradient clipping at nnU-Net's norm of 12, optimiser step; through the scaler on a GPU."""
        scaler = self.grad_scaler
        (loss if scaler is None else scaler.scale(loss)).backward()
        if scaler is not None:
            scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 12)
        if scaler is None:
            self.optimizer.step()
        else:
            scaler.step(self.optimizer)
            scaler.update()

    def on_train_epoch_end(self, train_outputs: list[dict]) -> None:
        """Log both losses and the Dice of SAM's masks on the training patches, averaged over all GPUs."""
        super().on_train_epoch_end(train_outputs)
        outputs = collate_outputs(train_outputs)
        gathered = [outputs]
        if self.is_ddp:
            gathered = [None] * dist.get_world_size()  # type: ignore[list-item]
            dist.all_gather_object(gathered, outputs)
        seg, dist_loss = (float(np.mean([part[key] for part in gathered])) for key in ("loss_seg", "loss_dist"))
        overlap = sum(part["guided_overlap"].sum(0) for part in gathered)
        dice = mean_dice(overlap)
        for key, value in zip(LOGGED, (seg, dist_loss, dice), strict=True):
            self.logger.log(key, value, self.current_epoch)
        weight = f" at weight {self.balance.weight:.3g}" if self.joint else ""
        guided = f"L_seg {seg:.4f}{weight}, Dice of SAM's masks {dice:.4f}" if self.guide is not None else "SAM is off"
        self.print_to_log_file(f"L_dist {dist_loss:.4f}, {guided}")

    def save_checkpoint(self, filename: str) -> None:
        """Write beside the target, then rename: a training killed while saving keeps its last whole checkpoint."""
        unfinished = f"{filename}.unfinished"
        super().save_checkpoint(unfinished)
        if self.local_rank == 0 and not self.disable_checkpointing:
            os.replace(unfinished, filename)  # noqa: PTH105 (nnU-Net's paths are strings)

    def load_checkpoint(self, filename_or_checkpoint: dict | str) -> None:
        """Load as nnU-Net does; a log without our keys (of an earlier version) gets NaN for its epochs."""
        super().load_checkpoint(filename_or_checkpoint)
        logging = self.logger.local_logger.my_fantastic_logging
        for key in LOGGED:
            logging.setdefault(key, [float("nan")] * len(logging["train_losses"]))


def mean_dice(overlap: np.ndarray) -> float:
    """Return the mean Dice over classes of `(3, P)` counts (TP, FP, FN); NaN where no class occurs."""
    tp, fp, fn = overlap
    present = 2 * tp + fp + fn > 0
    return float(np.mean(2 * tp[present] / (2 * tp + fp + fn)[present])) if present.any() else float("nan")
