"""SERTrainerSemiNoSAM: learns from annotated voxels and, by pseudo-labels, from those with nnU-Net's ignore label."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from batchgenerators.dataloading.nondet_multi_threaded_augmenter import NonDetMultiThreadedAugmenter
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ser_nnunet.nnunet.annotated_cases import UnannotatedCases, find_unannotated
from ser_nnunet.nnunet.log import add_logged_values
from ser_nnunet.training.pseudo_labels import cut_mix, draw_boxes, find_ignored, ignore_outside, pseudo_targets
from ser_nnunet.training.variants import SERTrainerNoSAM

MOST_REPETITIONS = 10  # of the rarer repeated cases, with which a share is met closely enough
LOGGED_PSEUDO_LABELS = ("train_losses_pseudo", "pseudo_label_share")  # one value per epoch each


class SERTrainerSemiNoSAM(SERTrainerNoSAM):
    """Semi-supervised SERTrainerNoSAM: a mean teacher's pseudo-labels replace nnU-Net's ignore label.

    For few annotated and many other scans: give the others a label that is "ignore" everywhere (`ser-nnunet convert
    ... --unlabelled DIR` does), and list them among the training cases of splits_final.json. Partly annotated scans
    work alike. The loss is L_dist on the annotated voxels + `pseudo_weight` * L_dist on the others, both on patches
    that CutMix has joined from two.

    Attributes:
        warm_up: share of the epochs before there are pseudo-labels, and cases without annotation take part.
        ramp_up: share of the epochs, after them, over which `pseudo_weight` is reached, as exp(-5 (1 - t)^2).
        pseudo_weight: of the loss on pseudo-labels.
        labelled_share: of the patches that come from cases with any annotation, after the warm-up.
        confidence: smallest probability of a pseudo-label, 0.5 to 1; less certain voxels stay ignored.
        teacher_decay: of the moving average of weights that is the mean teacher, per step.
        mixing: whether CutMix joins patches.
        mean_teacher: None while no training is running; resuming begins it anew from the network's weights.
    """

    warm_up = 0.5
    ramp_up = 0.1
    pseudo_weight = 1.0
    labelled_share = 0.5
    confidence = 0.8
    teacher_decay = 0.99
    mixing = True
    uses_unlabelled = True
    pseudo: torch.Tensor
    pseudo_loss: torch.Tensor
    voxels: np.ndarray
    mean_teacher: AveragedModel | None = None

    def initialize(self) -> None:
        """Build everything as nnU-Net does; refuse impossible settings and data sets without an ignore label."""
        super().initialize()
        bounds = {
            "warm_up": (0, 1),
            "ramp_up": (0, 1),
            "pseudo_weight": (0, math.inf),
            "labelled_share": (0, 1),
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
        unlabelled = self.unlabelled_cases
        labelled = [case for case in training.identifiers if case not in set(unlabelled)]
        self.print_to_log_file(
            f"{len(labelled)} training cases with annotation; {len(unlabelled)} without any take part from epoch "
            f"{self.warm_up_epochs} on"
        )
        if self.current_epoch < self.warm_up_epochs and labelled:
            training.identifiers = labelled
            return training, validation
        if isinstance(training, nnUNetDatasetBlosc2):
            previous = training.folder_with_segs_from_previous_stage
            training = UnannotatedCases(training.source_folder, training.identifiers, previous)
            training.labels = self.label_manager
        training.identifiers = repeat_cases(labelled, unlabelled, self.labelled_share)
        return training, validation

    @property
    def unlabelled_cases(self) -> list[str]:
        """The fold's training cases without any annotated voxel."""
        cases = self.do_split()[0]
        return find_unannotated(self.preprocessed_dataset_folder, cases, self.label_manager)

    def start_mean_teacher(self) -> AveragedModel:
        """Return the mean teacher; on the first call it is a copy of the network."""
        if self.mean_teacher is None:
            average = get_ema_multi_avg_fn(self.teacher_decay)
            self.mean_teacher = AveragedModel(self.bare_network, multi_avg_fn=average, use_buffers=True)
            self.mean_teacher.requires_grad_(False).eval()
        return self.mean_teacher

    @property
    def networks_in_training(self) -> list[torch.nn.Module]:
        """The network and its mean teacher."""
        return [self.network, self.start_mean_teacher().module]

    @property
    def warm_up_epochs(self) -> int:
        """The number of epochs before there are pseudo-labels."""
        return round(self.warm_up * self.num_epochs)

    @property
    def current_weight(self) -> float:
        """The weight of the loss on pseudo-labels in this epoch."""
        passed = self.current_epoch - self.warm_up_epochs
        if passed < 0:
            return 0.0
        progress = passed / max(1.0, self.ramp_up * self.num_epochs)
        return self.pseudo_weight * math.exp(-5 * (1 - min(1.0, progress)) ** 2)

    def on_train_epoch_start(self) -> None:
        """After the warm-up, start nnU-Net's loaders anew, with the cases that have no annotation."""
        super().on_train_epoch_start()
        if 0 < self.warm_up_epochs == self.current_epoch and self.unlabelled_cases:
            self.finish_loaders()
            self.dataloader_train, self.dataloader_val = self.get_dataloaders()

    def finish_loaders(self) -> None:
        """End the loaders' processes, as nnU-Net does at the end of a training."""
        for loader in (self.dataloader_train, self.dataloader_val):
            if isinstance(loader, NonDetMultiThreadedAugmenter):
                loader._finish()

    def on_train_end(self) -> None:
        """Release the mean teacher before the final validation."""
        self.mean_teacher = None
        super().on_train_end()

    @torch.no_grad()
    def prepare_patches(self, data: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return patches and their annotation, mixed; keep the pseudo-labels of what isn't annotated, mixed alike."""
        without = find_ignored(target, self.label_manager)
        if self.current_epoch < self.warm_up_epochs:
            pseudo = ignore_outside(target, torch.zeros_like(without), self.label_manager)
        else:
            teacher = self.networks_in_training[1]
            pseudo = pseudo_targets(teacher(data).float(), self.label_manager, self.confidence)
            pseudo = ignore_outside(pseudo, without, self.label_manager)
        if self.mixing and self.current_epoch >= self.warm_up_epochs:
            boxes = draw_boxes(len(data), data.shape[2:], data.device)
            partners = torch.randperm(len(data), device=data.device)
            data, target, pseudo = (cut_mix(values, boxes, partners) for values in (data, target, pseudo))
        ignored, unlabelled = (int(find_ignored(given, self.label_manager).sum()) for given in (target, pseudo))
        self.pseudo, self.voxels = pseudo, np.array([pseudo[:, :1].numel() - unlabelled, ignored])
        return data, target

    def compute_dist_loss(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return L_dist of the annotation plus that of the pseudo-labels, at its weight."""
        self.pseudo_loss = self.loss(logits, self.pseudo)
        return super().compute_dist_loss(logits, target) + self.current_weight * self.pseudo_loss

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Take one step of nnU-Net's on annotation and pseudo-labels, then update the mean teacher."""
        outputs = super().train_step(batch)
        self.start_mean_teacher().update_parameters(self.bare_network)
        return outputs | {"loss_pseudo": self.pseudo_loss.detach().cpu().numpy(), "pseudo_voxels": self.voxels}

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
    ratio = share / (1 - share) * len(unlabelled) / len(labelled)  # repetitions of labelled cases per unlabelled one's
    counts = [(max(1, round(ratio * count)), count) for count in range(1, MOST_REPETITIONS + 1)]
    if ratio < 1:
        counts = [(count, max(1, round(count / ratio))) for count in range(1, MOST_REPETITIONS + 1)]
    more, less = min(counts, key=lambda pair: abs(pair[0] / pair[1] / ratio - 1))
    return sorted(labelled * more + unlabelled * less)
