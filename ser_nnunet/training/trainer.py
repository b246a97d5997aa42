"""SERTrainer: nnU-Net's trainer with SERNet as network, guided by frozen SAM."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from nnunetv2.utilities.helpers import empty_cache

from ser_nnunet.errors import UserError
from ser_nnunet.network.label_layers import label_dependent_tensors
from ser_nnunet.network.ser_net import SERNet
from ser_nnunet.nnunet.base_trainer import BaseTrainer, mixed_precision
from ser_nnunet.nnunet.channels import list_channels
from ser_nnunet.nnunet.log import add_logged_values, epoch_log
from ser_nnunet.nnunet.log_picture import PICTURE, draw_log
from ser_nnunet.nnunet.region_order import describe_wrong_order, list_regions
from ser_nnunet.training.fading import fade
from ser_nnunet.training.guidance import Guidance, GuidanceSettings, load_guide, step_without_sam
from ser_nnunet.training.learning_rate import PhasedPolyLRScheduler
from ser_nnunet.training.losses import mean_dice
from ser_nnunet.training.muon import MuonAdamW, mixing_convolutions
from ser_nnunet.training.sam_record import record_sam
from ser_nnunet.training.schedule import LossSchedule, two_phases
from ser_nnunet.training.sernet_plans import format_of_other_folds, name_network
from ser_nnunet.training.slices import slicing_axes
from ser_nnunet.utils.hashing import file_sha256
from ser_nnunet.utils.model_format import EARLIER_FORMATS, MODEL_FORMAT, RECORD, require_known_format
from ser_nnunet.utils.printable import counted
from ser_nnunet.utils.variables import SAM_CHECKPOINT

CURVES = {
    "loss": {"L_dist (network)": "train_losses_dist", "L_seg (SAM's masks)": "train_losses_seg"},
    "Dice": {
        "network, validation patches": "mean_fg_dice",
        "SAM's masks, training patches": "guided_dice",
        "network, moving average": "ema_fg_dice",
    },
}
"""What progress_guidance.png shows: label of the axis -> name -> value in the log."""
LOGGED = ("train_losses_seg", "train_losses_dist", "guided_dice")  # one value per epoch each; NaN where SAM is off


class SERTrainer(BaseTrainer):
    """The light network, guided by SAM throughout: the losses of its own output and of SAM's masks train it together.

    With a proxy for SAM, its Dice was level with that of unguided training or above it (docs/results.md). The paper's
    two phases are `SERTrainerTwoPhases`, and with the paper's network and settings `SERTrainerPaper`.

    Settings are class attributes: derive, change one, and name the class after it. nnU-Net's own settings have its
    names (`num_epochs`, `initial_lr`, ...) and may also be set in a subclass's `__init__`, as in nnU-Net.

    Attributes:
        preset: SERNet's preset, `light` or `paper`.
        initial_lr, weight_decay: of the optimiser, with nnU-Net's polynomial schedule. Unless `joint`, schedule and
            optimiser start anew in the second phase: averages of L_seg's larger gradients would shorten AdamW's steps
            and turn Muon's.
        muon: Muon updates the convolutions that mix channels, AdamW the rest (`ser_nnunet.training.muon`); AdamW alone
            if not.
        enable_deep_supervision: False; SERNet has none.
        guided_fraction: share of the epochs in the guided phase (200 of 300 in the paper).
        joint: train everything by L_dist in the guided phase too.
        guidance_ratio: with `joint`, L_seg is weighted so that the norm of its gradient in the prompt learner is this
            many times L_dist's at most, measured every epoch. Without `joint` L_seg has the weight 1, because it alone
            trains the prompt learner in the guided phase.
        sam_distillation_weight: weight of the cross-entropy of the network's output towards SAM's own masks in the
            guided phase, multiplied by those masks' Dice in the step (an extension of ours; 0 in the paper and by
            default). Its gradient reaches the prompt learner only with `joint`.
        sam_channels: image channels that SAM sees: one (repeated three times, as in the paper) or three as RGB.
        sam_image_size: pixels at which SAM sees a slice; None is the checkpoint's own (1024). Encoding it takes most of
            a guided step's time, and 512 means a quarter of the encoder's tokens, 256 a sixteenth.
        sam_slices_per_step: slices of a batch (on each GPU) that pass through SAM at most; the rest trains the
            aggregator alone, with `joint` the whole network.
        sam_axes: the axes (0 to 2, in the plan's order) across which 3D patches are cut into slices for SAM, in turn,
            one per step. None: all three of isotropic data, the one across the slices of anisotropic data.
    """

    num_epochs = 1000
    num_iterations_per_epoch = 250
    num_val_iterations_per_epoch = 50
    initial_lr = 2e-3
    weight_decay = 3e-5
    muon = True
    oversample_foreground_percent = 0.33
    probabilistic_oversampling = False
    save_every = 50
    enable_deep_supervision = False

    preset = "light"
    guided_fraction = 1.0
    joint = True
    guidance_ratio = 0.1
    sam_distillation_weight = 0.0
    sam_channels: tuple[int, ...] = (0,)
    sam_image_size: int | None = None
    sam_slices_per_step = 1  # as accurate as 4 or 8 with AdamW and the proxy SAM, and cheaper (docs/research-log.md)
    sam_axes: tuple[int, ...] | None = None

    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),  # noqa: B008 (nnU-Net's signature)
    ) -> None:
        self.refuse_unsupported(plans, configuration)
        plans = name_network(plans, configuration, dataset_json, self.preset)
        super().__init__(plans, configuration, fold, dataset_json, device)
        # not a submodule of self.network: checkpoints must not contain SAM's weights
        self.guidance: Guidance | None = None
        self.is_sam_recorded = True  # nothing to record yet
        add_logged_values(self, LOGGED)

    @classmethod
    def refuse_unsupported(cls, plans: dict[str, Any], configuration: str) -> None:
        """Raise NotImplementedError, with the reason, for a configuration that the trainer can't train; none here."""

    @property
    def schedule(self) -> LossSchedule:
        """Which epochs SAM guides; follows `num_epochs`, so that a shortened training keeps its phases."""
        return two_phases(self.num_epochs, self.guided_fraction, self.joint)

    @property
    def restart_epoch(self) -> int:
        """The epoch in which another loss begins to train the prompt learner; 0 or the number of epochs if none."""
        return 0 if self.joint else self.schedule.guided_epochs

    @property
    def ser_net(self) -> SERNet:
        """The bare network under DDP's and torch.compile's wrappers."""
        return cast(SERNet, self.bare_network)

    @property
    def guidance_settings(self) -> GuidanceSettings:
        """The trainer's settings for guidance."""
        use_mask_for_norm = self.configuration_manager.use_mask_for_norm
        axes = self.sam_axes
        if axes is None and len(self.configuration_manager.patch_size) == 3:
            axes = slicing_axes(self.configuration_manager.spacing)
        return GuidanceSettings(
            checkpoint=str(Path(named).expanduser()) if (named := os.environ.get(SAM_CHECKPOINT)) else None,
            image_size=self.sam_image_size,
            channels=self.sam_channels,
            slices_per_step=self.sam_slices_per_step,
            distillation_weight=self.sam_distillation_weight,
            ratio=self.guidance_ratio if self.joint else None,
            masked_channels=tuple(channel for channel, masked in enumerate(use_mask_for_norm) if masked),
            axes=(0,) if axes is None else axes,
        )

    def initialize(self) -> None:
        """Build everything as nnU-Net does; refuse settings of guidance that don't fit the data set.

        Beside folds that an earlier version trained, the network is theirs: nnU-Net keeps one plans.json for all folds.
        """
        if not self.was_initialized:
            self.keep_format(format_of_other_folds(Path(self.output_folder), self.configuration_name))
        super().initialize()
        self.guidance_settings.check(list_channels(self.dataset_json))
        self.print_to_log_file(
            f"SERNet {self.preset}: {counted(self.num_input_channels, 'input channel')}, "
            f"{counted(self.label_manager.num_segmentation_heads, 'output')}, "
            f"{counted(self.ser_net.num_prompts, 'prompt')}"
        )
        regions, order = list_regions(self.dataset_json["labels"]), self.label_manager.regions_class_order
        if regions and order and (wrong_order := describe_wrong_order(regions, order)):
            self.print_to_log_file(f"WARNING: the data set's dataset.json: {wrong_order}")
        self.ser_net.register_load_state_dict_post_hook(lambda *_: self.log_pretrained_weights())

    def log_pretrained_weights(self) -> None:
        """Name the layers that `-pretrained_weights` leaves out, if weights are loaded before the first epoch."""
        if self.current_epoch == 0:
            names = ", ".join(label_dependent_tensors(self.ser_net))
            self.print_to_log_file(
                "Weights were loaded into the network. From -pretrained_weights, nnU-Net leaves out the layers whose "
                f"sizes depend on the labels; these keep their initial values: {names}"
            )

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, Any]:
        """Return AdamW, with Muon for the convolutions that mix channels, and nnU-Net's schedule for each phase.

        nnU-Net's SGD suits its U-Net and few other networks.
        """
        optimizer: torch.optim.Optimizer
        if self.muon:
            by_muon = mixing_convolutions(self.bare_network)
            optimizer = MuonAdamW(self.network.parameters(), by_muon, self.initial_lr, self.weight_decay)
        else:
            optimizer = torch.optim.AdamW(self.network.parameters(), self.initial_lr, weight_decay=self.weight_decay)
        return optimizer, self.build_lr_scheduler(optimizer)

    def build_lr_scheduler(self, optimizer: torch.optim.Optimizer) -> PhasedPolyLRScheduler:
        """Return nnU-Net's polynomial decay, which restarts when another loss begins to train the prompt learner."""
        return PhasedPolyLRScheduler(optimizer, self.initial_lr, self.num_epochs, self.restart_epoch)

    def set_deep_supervision_enabled(self, enabled: bool) -> None:
        """Do nothing: there is none (nnU-Net's own reaches for its U-Net's decoder)."""

    def build_guidance(self) -> Guidance:
        """Load SAM and return what it does in a step; override it for another kind of guidance."""
        settings = self.guidance_settings
        return Guidance(
            load_guide(settings, self.device, type(self).__name__),
            settings,
            self.label_manager,
            self.ser_net.prompt_learner.prompt_stride,
            batch_dice=self.configuration_manager.batch_dice,
            ddp=self.is_ddp,
        )

    def on_train_start(self) -> None:
        """Load SAM before anything slow happens, so that a missing or broken checkpoint is reported at once."""
        if not self.was_initialized:
            self.initialize()
        self.refuse_two_phases()
        self.claim_folder()  # loading SAM, and computing embeddings, may take long
        self.update_guidance()
        super().on_train_start()

    def refuse_two_phases(self) -> None:
        """Refuse to resume a training that this class began in version 0.2.0, when it had two phases by default.

        Raises:
            UserError: says how to finish it.
        """
        begun = self.loaded_record.get("version") == "0.2.0" and 0 < self.current_epoch < self.num_epochs
        inherited = next(kind for kind in type(self).__mro__ if "joint" in vars(kind)) is SERTrainer
        if begun and inherited and self.guided_fraction > 0:
            raise UserError(
                f"{self.output_folder}: ser-nnunet 0.2.0 trained {self.current_epoch} epochs in two phases, of which "
                f"{type(self).__name__} has one since 0.3.0. To finish the training as it began, rename the folder "
                f"{Path(self.output_folder).parent.name} so that it begins with SERTrainerTwoPhases, and train with "
                "-tr SERTrainerTwoPhases --c. A trainer of your own: derive it from SERTrainerTwoPhases instead"
            )

    def update_guidance(self) -> None:
        """Load SAM if it guides the current epoch, otherwise release it."""
        guided = self.schedule.guided(self.current_epoch)
        if guided and self.guidance is None:
            self.guidance = self.build_guidance()
            self.print_to_log_file(
                f"SAM guides epochs 0 to {self.schedule.guided_epochs - 1} of {self.num_epochs}: "
                f"{self.guidance.describe()}"
            )
            self.is_sam_recorded = False
        if not guided:
            self.release_guidance()

    def record_sam(self) -> None:
        """Log the SHA-256 of SAM's checkpoint, and warn if another one guided the epochs before."""
        checkpoint = self.guidance_settings.checkpoint
        if self.local_rank != 0 or not checkpoint or not Path(checkpoint).is_file():
            return
        digest = file_sha256(checkpoint)
        self.print_to_log_file(f"SAM's checkpoint {checkpoint} has the SHA-256 {digest}")
        if warning := record_sam(Path(self.output_folder), self.current_epoch, checkpoint, digest):
            self.print_to_log_file(warning)

    def release_guidance(self) -> None:
        """Free SAM's memory; nothing happens where SAM isn't loaded."""
        if self.guidance is not None:
            self.guidance = None
            empty_cache(self.device)
            self.print_to_log_file("SAM guides no further: it was released from memory")

    def on_train_epoch_start(self) -> None:
        """Switch the phase: load or release SAM, and clear the optimiser's averages where the losses change."""
        super().on_train_epoch_start()
        self.update_guidance()
        if not self.is_sam_recorded:  # not earlier: a training that can't begin leaves the record as it is
            self.record_sam()
            self.is_sam_recorded = True
        if self.guidance is not None:
            self.guidance.start_epoch(self.find_fade())
        if 0 < self.restart_epoch == self.current_epoch:
            self.optimizer.state.clear()

    def find_fade(self) -> float:
        """The factor of guidance's losses in this epoch; 1 in two phases, where L_seg alone trains the prompts."""
        if not self.joint:
            return 1.0
        log, guided = epoch_log(self), self.schedule.guided_epochs
        factor = fade(log["guided_dice"], log["mean_fg_dice"], guided)
        before = fade(log["guided_dice"][:-1], log["mean_fg_dice"][:-1], guided)
        if factor != before:
            self.print_to_log_file(
                f"SAM's masks have a Dice of {log['guided_dice'][-1]:.4f}, the network {log['mean_fg_dice'][-1]:.4f}: "
                f"guidance {'fades' if factor < before else 'recovers'}, its losses are multiplied by {factor:g}"
            )
        return factor

    def on_train_end(self) -> None:
        """Release SAM before the final validation, which needs the memory (a training may be guided throughout)."""
        self.release_guidance()
        super().on_train_end()

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Take one step of nnU-Net's, with guidance's loss added while SAM guides."""
        data = batch["data"].to(self.device, non_blocking=True)
        target = batch["target"].to(self.device, non_blocking=True)
        self.optimizer.zero_grad(set_to_none=True)
        if self.guidance is not None:
            self.guidance.update_weight(self.ser_net, self.loss, data, target, self.grad_scaler)
        with mixed_precision(self.device):
            patches = data if self.guidance is None else self.guidance.add_patches(data)
            logits, prompt = self.network(patches, detach_prompt=self.schedule.detached(self.current_epoch))
            dist_loss = self.loss(logits[: len(target)], target)
            if self.guidance is not None:
                guided = self.guidance.step(patches, prompt, logits, target)
            else:
                guided = step_without_sam(prompt.shape[1])
            loss = dist_loss + guided.loss
        self.backward_and_step(loss)
        self.require_finite({"L_dist": dist_loss, "the loss of SAM's masks": guided.loss}, batch)
        return {
            "loss": loss.detach().cpu().numpy(),
            "loss_seg": guided.seg_loss.detach().cpu().numpy(),
            "loss_dist": dist_loss.detach().cpu().numpy(),
            "guided_overlap": guided.overlap.cpu().numpy(),
        }

    def on_train_epoch_end(self, train_outputs: list[dict[str, Any]]) -> None:
        """Log both losses and the Dice of SAM's masks on the training patches, averaged over all GPUs."""
        super().on_train_epoch_end(train_outputs)
        gathered = self.gather_outputs(train_outputs)
        seg, dist_loss = (float(np.mean([part[key] for part in gathered])) for key in ("loss_seg", "loss_dist"))
        dice = float(mean_dice(torch.from_numpy(sum(part["guided_overlap"].sum(0) for part in gathered))))
        for key, value in zip(LOGGED, (seg, dist_loss, dice), strict=True):
            self.logger.log(key, value, self.current_epoch)
        guided = "SAM is off"
        if self.guidance is not None:
            guided = f"L_seg {seg:.4f} at weight {self.guidance.weight:.3g}, Dice of SAM's masks {dice:.4f}"
        self.print_to_log_file(f"L_dist {dist_loss:.4f}, {guided}")

    def on_epoch_end(self) -> None:
        """End the epoch as nnU-Net does, and draw both losses and the Dice of SAM's masks where SAM guides a phase."""
        super().on_epoch_end()
        if self.local_rank == 0 and self.guided_fraction > 0:
            draw_log(epoch_log(self), CURVES, Path(self.output_folder) / PICTURE, self.schedule.guided_epochs)

    def load_checkpoint(self, filename_or_checkpoint: dict[str, Any] | str) -> None:
        """Load as nnU-Net does; a log without SER's values (of another trainer) gets NaN for its epochs.

        A training that an earlier version began goes on with that version's network.
        """
        content = filename_or_checkpoint
        if isinstance(content, str):
            content = torch.load(content, map_location="cpu", weights_only=False, mmap=True)
        require_known_format(content, filename_or_checkpoint if isinstance(filename_or_checkpoint, str) else "it")
        record = content.get(RECORD)
        if isinstance(record, Mapping) and not self.was_initialized:
            self.keep_format(record.get("format"))
        with_muon = self.muon
        self.keep_optimizer(content.get("optimizer_state", {}))
        super().load_checkpoint(filename_or_checkpoint)
        if self.muon != with_muon:
            optimiser = "Muon and AdamW" if self.muon else "AdamW alone (all trainings before 0.5.0)"
            self.print_to_log_file(f"The checkpoint holds the averages of {optimiser}, with which a training goes on")
        add_logged_values(self, LOGGED)

    def keep_optimizer(self, state: Mapping[str, Any]) -> None:
        """Take the optimiser that a checkpoint's averages are of, Muon and AdamW or AdamW alone (before 0.5.0)."""
        if not self.was_initialized:
            self.initialize()  # as nnU-Net does when it loads a checkpoint
        groups = state.get("param_groups", ())
        with_muon = any("muon" in group for group in groups)
        with_adamw = bool(groups) and not with_muon and all("betas" in group for group in groups)
        if isinstance(self.optimizer, MuonAdamW) != with_muon and (with_muon or with_adamw):
            self.muon = with_muon
            self.optimizer, self.lr_scheduler = self.configure_optimizers()

    def keep_format(self, number: object) -> None:
        """Build the network of an earlier model format; of today's or of an unknown one, nothing changes."""
        # the plans that are saved with the model, and nnU-Net's copy of the configuration
        saved = self.plans_manager.plans["configurations"][self.configuration_name]["architecture"]["arch_kwargs"]
        if number not in EARLIER_FORMATS or number == saved["model_format"]:
            return
        for settings in (saved, self.configuration_manager.network_arch_init_kwargs):
            settings["model_format"] = number
            settings.pop("image_channels", None)  # of format 4, unknown to the versions that read this one
        self.print_to_log_file(
            f"This model was begun in the model format {number}, and is continued with the network of that format. "
            f"For today's network, move {Path(self.output_folder).parent} away and train all folds. Weights of the "
            f"model format {MODEL_FORMAT} (-pretrained_weights) do not fit this one, although nnU-Net may load them"
        )
