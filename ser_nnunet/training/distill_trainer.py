"""SERTrainerDistill: SERNet learns from the labels and from a trained model of nnU-Net's, without SAM."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from nnunetv2.utilities.helpers import empty_cache

from ser_nnunet.nnunet.base_trainer import mixed_precision
from ser_nnunet.nnunet.log import add_logged_values
from ser_nnunet.nnunet.plans import PlannedConfiguration
from ser_nnunet.training.distillation import count_segmentation_overlap, distillation_loss
from ser_nnunet.training.guidance import step_without_sam
from ser_nnunet.training.losses import mean_dice
from ser_nnunet.training.teacher import Student, Teacher, load_teacher
from ser_nnunet.training.variants import SERTrainerNoSAM
from ser_nnunet.utils.variables import TEACHER

LOGGED_DISTILLATION = ("train_losses_distillation", "teacher_dice")  # one value per epoch each


class SERTrainerDistill(SERTrainerNoSAM):
    """SERTrainerNoSAM with a distillation loss towards a trained model of nnU-Net's, which `SER_TEACHER` names.

    The loss is L_dist + `distillation_weight` * T^2 * KL(teacher || student), both outputs softened by the temperature
    T (Hinton et al., arXiv 1503.02531). Teacher and student see the same augmented patch, as Beyer et al. recommend
    (arXiv 2106.05237). The teacher is in memory while the training runs; validation and prediction don't need it, and
    checkpoints contain nothing of it.

    Attributes:
        distillation_weight: of the distillation loss beside L_dist.
        distillation_temperature: T, above 0; a higher one gives more weight to the classes' small probabilities.
        teacher: None while no training is running.
    """

    distillation_weight = 1.0
    distillation_temperature = 2.0
    teacher: Teacher | None = None

    def initialize(self) -> None:
        """Build everything as nnU-Net does; refuse impossible settings."""
        super().initialize()
        problems = []
        if not self.distillation_weight >= 0:
            problems.append(f"distillation_weight must be at least 0, {self.distillation_weight} given")
        if not self.distillation_temperature > 0:
            problems.append(f"distillation_temperature must be above 0, {self.distillation_temperature} given")
        if self.guided_fraction:
            problems.append(f"guided_fraction must be 0, because SAM has no part here, {self.guided_fraction} given")
        if problems:
            raise ValueError("; ".join(problems))
        add_logged_values(self, LOGGED_DISTILLATION)

    def on_train_start(self) -> None:
        """Load the teacher before anything slow happens, so that a missing or unsuitable one is reported at once."""
        if not self.was_initialized:
            self.initialize()
        if self.current_epoch < self.num_epochs:  # not if a finished training is resumed for its validation
            self.load_teacher()
        super().on_train_start()

    def load_teacher(self) -> Teacher:
        """Return the teacher, loaded on the first call; override it for a teacher from elsewhere."""
        if self.teacher is None:
            planned = PlannedConfiguration(self.plans_manager.plans, self.configuration_name, self.dataset_json)
            student = Student(planned, self.fold, self.do_split()[1])
            self.teacher = load_teacher(os.environ.get(TEACHER), student, self.device, type(self).__name__)
            self.print_to_log_file(f"Teacher: {self.teacher.description}")
            if self.teacher.dataset != self.plans_manager.dataset_name and str(self.fold) != "all":
                self.print_to_log_file(
                    f"WARNING: the teacher was trained on {self.teacher.dataset}. Make sure that no patient of the "
                    f"student's validation cases (fold {self.fold}) is among its training cases, which can't be "
                    "checked here: the validation would be too good"
                )
        return self.teacher

    def list_networks(self) -> list[torch.nn.Module]:
        """The student's and the teacher's network."""
        return [self.network, self.load_teacher().network]

    def on_train_end(self) -> None:
        """Release the teacher before the final validation, which needs the memory."""
        self.teacher = None
        empty_cache(self.device)
        super().on_train_end()

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Take one step of nnU-Net's, with the distillation loss added."""
        teacher = self.load_teacher()
        data = batch["data"].to(self.device, non_blocking=True)
        target = batch["target"].to(self.device, non_blocking=True)
        self.optimizer.zero_grad(set_to_none=True)
        with mixed_precision(self.device):
            wanted = teacher(data)
            logits, prompt = self.network(data)
            dist_loss = self.loss(logits, target)
            distillation = distillation_loss(logits, wanted, self.label_manager, self.distillation_temperature)
            loss = dist_loss + self.distillation_weight * distillation
        self.backward_and_step(loss)
        self.require_finite({"L_dist": dist_loss, "the distillation loss": distillation}, batch)
        unguided = step_without_sam(prompt.shape[1])
        return {
            "loss": loss.detach().cpu().numpy(),
            "loss_seg": unguided.seg_loss.numpy(),
            "loss_dist": dist_loss.detach().cpu().numpy(),
            "loss_distillation": distillation.detach().cpu().numpy(),
            "guided_overlap": unguided.overlap.numpy(),
            "teacher_overlap": count_segmentation_overlap(wanted, target, self.label_manager).cpu().numpy(),
        }

    def on_train_epoch_end(self, train_outputs: list[dict[str, Any]]) -> None:
        """Log the distillation loss and the teacher's Dice on the training patches, averaged over all GPUs."""
        super().on_train_epoch_end(train_outputs)
        gathered = self.gather_outputs(train_outputs)
        loss = float(np.mean([part["loss_distillation"] for part in gathered]))
        overlap = sum(part["teacher_overlap"].sum(0) for part in gathered)
        dice = float(mean_dice(torch.from_numpy(overlap)))
        for key, value in zip(LOGGED_DISTILLATION, (loss, dice), strict=True):
            self.logger.log(key, value, self.current_epoch)
        self.print_to_log_file(f"distillation loss {loss:.4f}, the teacher's Dice on the training patches {dice:.4f}")

    def load_checkpoint(self, filename_or_checkpoint: dict[str, Any] | str) -> None:
        """Load as nnU-Net does; a log without the distillation's values gets NaN for its epochs."""
        super().load_checkpoint(filename_or_checkpoint)
        add_logged_values(self, LOGGED_DISTILLATION)
