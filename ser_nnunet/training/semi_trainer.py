"""SERTrainerSemiNoSAM: learns from annotated voxels and, by pseudo-labels, from those with nnU-Net's ignore label."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ser_nnunet.nnunet.annotated_cases import find_unannotated
from ser_nnunet.nnunet.base_trainer import mixed_precision
from ser_nnunet.nnunet.log import add_logged_values
from ser_nnunet.training.guidance import step_without_sam
from ser_nnunet.training.pseudo_labels import cut_mix, draw_boxes, find_ignored, ignore_outside, pseudo_targets
from ser_nnunet.training.variants import SERTrainerNoSAM

LOGGED_PSEUDO_LABELS = ("train_losses_pseudo", "pseudo_label_share")  # one value per epoch each


class SERTrainerSemiNoSAM(SERTrainerNoSAM):
    """Semi-supervised SERTrainerNoSAM: a mean teacher's pseudo-labels replace nnU-Net's ignore label.

    For few annotated and many other scans: give the others a label that is "ignore" everywhere (`ser-nnunet convert
    ... --unlabelled DIR` does), and list them among the training cases of splits_final.json. Partly annotated scans
    work alike. The loss is L_dist on the annotated voxels + `pseudo_weight` * L_dist on the others, both on patches
    that CutMix has joined from two.

    Attributes:
        labelled_share: of the patches that come from cases with any annotation.
        pseudo_weight: of the loss on pseudo-labels, reached after `ramp_up`.
        ramp_up: share of the epochs over which that weight rises, as exp(-5 (1 - t)^2) (the mean teacher's).
        confidence: smallest probability of a pseudo-label, 0.5 to 1; less certain voxels stay ignored.
        teacher_decay: of the moving average of weights that is the mean teacher, per step.
        mixing: whether CutMix joins patches.
        mean_teacher: None while no training is running; resuming begins it anew from the network's weights.
    """

    labelled_share = 0.5
    pseudo_weight = 1.0
    ramp_up = 0.4
    confidence = 0.8
    teacher_decay = 0.99
    mixing = True
    uses_unlabelled = True
    mean_teacher: AveragedModel | None = None

    def initialize(self) -> None:
        """Build everything as nnU-Net does; refuse impossible settings and data sets without an ignore label."""
        super().initialize()
        bounds = {
            "labelled_share": (0, 1),
            "pseudo_weight": (0, math.inf),
            "ramp_up": (0, 1),
            "confidence": (0.5, 1),
            "teacher_decay": (0, 1),
        }
        problems = [
            f"{name} must lie between {low} and {high}, {getattr(self, name)} given"
            for name, (low, high) in bounds.items()
            if not low <= getattr(self, name) <= high
        ]
        if not self.label_manager.has_ignore_label:
            problems.append(
                f"{self.plans_manager.dataset_name} has no label 'ignore', which marks what is to be learnt without "
                "annotation; SERTrainerNoSAM trains on data sets without it"
            )
        if problems:
            raise ValueError("; ".join(problems))
        add_logged_values(self, LOGGED_PSEUDO_LABELS)

    def get_tr_and_val_datasets(self) -> tuple[Any, Any]:
        """Return nnU-Net's data sets; the first repeats cases so that `labelled_share` of the draws have annotation."""
        training, validation = super().get_tr_and_val_datasets()
        cases = list(training.identifiers)
        unlabelled = find_unannotated(self.preprocessed_dataset_folder, cases, self.label_manager)
        labelled = [case for case in cases if case not in set(unlabelled)]
        training.identifiers = repeat_cases(labelled, unlabelled, self.labelled_share)
        self.print_to_log_file(f"{len(labelled)} training cases with annotation, {len(unlabelled)} without any")
        return training, validation

    @property
    def networks_in_training(self) -> list[torch.nn.Module]:
        """The network and its mean teacher, which is made on the first call."""
        if self.mean_teacher is None:
            average = get_ema_multi_avg_fn(self.teacher_decay)
            self.mean_teacher = AveragedModel(self.bare_network, multi_avg_fn=average, use_buffers=True)
            self.mean_teacher.requires_grad_(False).eval()
        return [self.network, self.mean_teacher.module]

    @property
    def current_weight(self) -> float:
        """The weight of the loss on pseudo-labels in this epoch."""
        progress = self.current_epoch / max(1.0, self.ramp_up * self.num_epochs)
        return self.pseudo_weight * math.exp(-5 * (1 - min(1.0, progress)) ** 2)

    def on_train_end(self) -> None:
        """Release the mean teacher before the final validation."""
        self.mean_teacher = None
        super().on_train_end()

    @torch.no_grad()
    def label_and_mix(
        self, data: torch.Tensor, target: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return patches, their annotation, and the pseudo-labels of what isn't annotated, mixed alike.

        Args:
            data: images `(B, C, *patch)`.
            target: nnU-Net's.
        """
        teacher = self.networks_in_training[1]
        pseudo = pseudo_targets(teacher(data).float(), self.label_manager, self.confidence)
        pseudo = ignore_outside(pseudo, find_ignored(target, self.label_manager), self.label_manager)
        if not self.mixing:
            return data, target, pseudo
        boxes = draw_boxes(len(data), data.shape[2:], data.device)
        partners = torch.randperm(len(data), device=data.device)
        mixed = [cut_mix(values, boxes, partners) for values in (data, target, pseudo)]
        return mixed[0], mixed[1], mixed[2]

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Take one step of nnU-Net's on annotation and pseudo-labels, then update the mean teacher."""
        data = batch["data"].to(self.device, non_blocking=True)
        target = batch["target"].to(self.device, non_blocking=True)
        self.optimizer.zero_grad(set_to_none=True)
        with mixed_precision(self.device):
            data, target, pseudo = self.label_and_mix(data, target)
            logits, prompt = self.network(data)
            dist_loss, pseudo_loss = self.loss(logits, target), self.loss(logits, pseudo)
            loss = dist_loss + self.current_weight * pseudo_loss
        self.backward_and_step(loss)
        self.require_finite({"L_dist": dist_loss, "the loss on pseudo-labels": pseudo_loss}, batch)
        assert self.mean_teacher is not None
        self.mean_teacher.update_parameters(self.bare_network)
        ignored = find_ignored(target, self.label_manager).sum()
        labelled = (~find_ignored(pseudo, self.label_manager)).sum()
        unguided = step_without_sam(prompt.shape[1])
        return {
            "loss": loss.detach().cpu().numpy(),
            "loss_seg": unguided.seg_loss.numpy(),
            "loss_dist": dist_loss.detach().cpu().numpy(),
            "loss_pseudo": pseudo_loss.detach().cpu().numpy(),
            "guided_overlap": unguided.overlap.numpy(),
            "pseudo_voxels": np.array([int(labelled), int(ignored)]),
        }

    def on_train_epoch_end(self, train_outputs: list[dict[str, Any]]) -> None:
        """Log the loss on pseudo-labels and the share of unannotated voxels that got one, over all GPUs."""
        super().on_train_epoch_end(train_outputs)
        gathered = self.gather_outputs(train_outputs)
        loss = float(np.mean([part["loss_pseudo"] for part in gathered]))
        labelled, ignored = sum(part["pseudo_voxels"].reshape(-1, 2).sum(0) for part in gathered)
        share = float(labelled / ignored) if ignored else float("nan")
        for key, value in zip(LOGGED_PSEUDO_LABELS, (loss, share), strict=True):
            self.logger.log(key, value, self.current_epoch)
        self.print_to_log_file(
            f"pseudo-labels: loss {loss:.4f} at weight {self.current_weight:.3g}, "
            f"{share:.1%} of the voxels without annotation"
        )

    def load_checkpoint(self, filename_or_checkpoint: dict[str, Any] | str) -> None:
        """Load as nnU-Net does; a log without the values of pseudo-labels gets NaN for its epochs."""
        super().load_checkpoint(filename_or_checkpoint)
        add_logged_values(self, LOGGED_PSEUDO_LABELS)


def repeat_cases(labelled: list[str], unlabelled: list[str], share: float) -> list[str]:
    """Return the cases, each kind repeated as often as needed for `share` of the list to be labelled ones (nearly).

    nnU-Net draws cases from this list with equal probability.
    """
    if not labelled or not unlabelled or share in (0, 1):
        return unlabelled if share == 0 and unlabelled else labelled or unlabelled
    wanted = share / (1 - share)  # labelled ones per unlabelled one
    ratio = wanted * len(unlabelled) / len(labelled)
    more, less = (ratio, 1.0) if ratio >= 1 else (1.0, 1 / ratio)
    return sorted(labelled * round(more) + unlabelled * round(less))
