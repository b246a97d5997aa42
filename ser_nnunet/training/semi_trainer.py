"""SERTrainerSemiNoSAM: learns from annotated voxels and, by pseudo-labels, from those with nnU-Net's ignore label."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from batchgenerators.dataloading.nondet_multi_threaded_augmenter import NonDetMultiThreadedAugmenter
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from ser_nnunet.errors import UserError
from ser_nnunet.training.losses import mean_dice
from ser_nnunet.training.pseudo_label_files import PseudoLabelFiles, PseudoLabelledCases
from ser_nnunet.training.pseudo_labels import certain_labels, count_label_overlap, fill_ignored, ignore_label
from ser_nnunet.training.variants import SERTrainerNoSAM

JUDGED_CASES = 5  # annotated training cases on which the mean teacher's Dice is logged
MOST_REPETITIONS = 10  # of the rarer repeated cases, with which a share is met closely enough


class SERTrainerSemiNoSAM(SERTrainerNoSAM):
    """Semi-supervised SERTrainerNoSAM: its own pseudo-labels replace nnU-Net's ignore label, in rounds.

    Experimental: no gain over SERTrainerNoSAM has been measured (docs/results.md).

    For few annotated and many other scans: give the others the label "ignore" (`ser-nnunet convert --unlabelled` does),
    and list them among the training cases of splits_final.json. Partly annotated scans work alike. Until the first
    round only cases with annotation are trained on. In each round the network, or a moving average of its weights (a
    mean teacher, arXiv 1703.01780), segments all training cases with ignored voxels, unaugmented; what it is certain of
    is their label until the next round (noisy student, arXiv 1911.04252: the student sees augmented patches).

    Attributes:
        rounds: shares of the epochs at which pseudo-labels are made.
        labelled_share: of the patches that come from cases with any annotation, once there are pseudo-labels.
        confidence: smallest probability of a pseudo-label, 0.5 to 1; less certain voxels stay ignored.
        teacher_decay: of the moving average, per step; 0 takes the network itself. The average lags behind by about
            1 / (1 - teacher_decay) steps: with 0.99 pseudo-labels were useless after 250 steps (docs/research-log.md).
        mean_teacher: None while no training is running; resuming begins it anew from the network's weights.
    """

    rounds: tuple[float, ...] = (0.75,)
    labelled_share = 0.75
    confidence = 0.9
    teacher_decay = 0.9
    uses_unlabelled = True
    mean_teacher: AveragedModel | None = None
    labelled_epoch: int | None = None
    """Before which the present pseudo-labels were made by this process."""
    _ignored: dict[str, bool]

    def initialize(self) -> None:
        """Build everything as nnU-Net does; refuse impossible settings and data sets without an ignore label."""
        super().initialize()
        self._ignored = {}
        bounds = {"labelled_share": (0, 1), "confidence": (0.5, 1), "teacher_decay": (0, 1)}
        problems = [
            f"{name} must lie between {low} and {high}, {getattr(self, name)} given"
            for name, (low, high) in bounds.items()
            if not low <= getattr(self, name) <= high
        ]
        if not self.rounds or not all(0 < share < 1 for share in self.rounds):
            problems.append(f"rounds must be shares of the epochs between 0 and 1, {self.rounds} given")
        if not self.label_manager.has_ignore_label:
            problems.append(
                f"{self.plans_manager.dataset_name} has no label 'ignore', which marks what is to be learnt without "
                "annotation; SERTrainerNoSAM trains on data sets without it"
            )
        if self.is_cascaded:
            problems.append("a cascade's second stage is not supported: train 3d_lowres, or SERTrainerNoSAM")
        if problems:
            raise ValueError("; ".join(problems))

    @property
    def round_epochs(self) -> list[int]:
        """The epochs before which pseudo-labels are made: after the first and before the last, whatever is rounded."""
        return sorted({max(1, min(self.num_epochs - 1, round(share * self.num_epochs))) for share in self.rounds})

    @property
    def pseudo_labels(self) -> PseudoLabelFiles:
        """Where they are while the training runs: in the fold's folder."""
        return PseudoLabelFiles(Path(self.output_folder) / "pseudo_labels")

    def list_unlabelled(self) -> list[str]:
        """The fold's training cases without any annotated voxel."""
        return self.list_unannotated(self.do_split()[0])

    def get_tr_and_val_datasets(self) -> tuple[Any, Any]:
        """Return nnU-Net's data sets; from the first round on, the first one has pseudo-labels.

        Cases are repeated in it so that `labelled_share` of the draws have annotation.

        Raises:
            UserError: the cases are in an earlier format of nnU-Net, or none has annotation.
        """
        training, validation = super().get_tr_and_val_datasets()
        unlabelled = self.list_unlabelled()
        labelled = [case for case in training.identifiers if case not in set(unlabelled)]
        if not hasattr(training, "mmap_kwargs"):
            raise UserError(f"{training.source_folder} is in an earlier format of nnU-Net: preprocess again")
        if not labelled:
            raise UserError(f"fold {self.fold}: none of {len(unlabelled)} training cases has an annotated voxel")
        drawn = labelled
        if self.round_epochs[0] <= self.current_epoch < self.num_epochs:  # a finished training is only validated
            if self.labelled_epoch is None:  # a resumed training
                self.make_pseudo_labels()
            drawn = repeat_cases(labelled, unlabelled, self.labelled_share)
        sampled = self.configure_rotation_dummyDA_mirroring_and_inital_patch_size()[2]
        patch = self.configuration_manager.patch_size
        files = self.pseudo_labels if self.labelled_epoch is not None else None
        without = self.label(validation, None, validation.identifiers, patch)
        return self.label(training, files, drawn, sampled), without

    def label(
        self, dataset: Any, files: PseudoLabelFiles | None, drawn: list[str], sampled: Sequence[int]
    ) -> PseudoLabelledCases:
        """Return nnU-Net's data set with pseudo-labels.

        Args:
            dataset: nnU-Net's.
            files: the pseudo-labels; None for none.
            drawn: the cases to draw from; repeated ones are drawn more often.
            sampled: edges of what nnU-Net cuts out of them.
        """
        previous = dataset.folder_with_segs_from_previous_stage
        cases = PseudoLabelledCases(dataset.source_folder, list(dataset.identifiers), previous)
        cases.whole = frozenset(case for case in cases.identifiers if not self.has_ignored_voxels(dataset, case))
        cases.files, cases.labels, cases.identifiers = files, self.label_manager, drawn
        two = len(sampled) == 2  # nnU-Net's loader treats a slice as a volume of one
        cases.sampled_patch = (1, *sampled) if two else tuple(sampled)
        cases.patch = (
            (1, *self.configuration_manager.patch_size) if two else tuple(self.configuration_manager.patch_size)
        )
        return cases

    def has_ignored_voxels(self, dataset: Any, case: str) -> bool:
        """Return whether the ignore label occurs in a case; each case is read once."""
        if case not in self._ignored:
            self._ignored[case] = bool(
                (np.asarray(dataset.load_case(case)[1][:]) == ignore_label(self.label_manager)).any()
            )
        return self._ignored[case]

    def make_pseudo_labels(self) -> None:
        """Segment all training cases that have ignored voxels; with DDP each process segments a part of them.

        The log says how many voxels got a label, and the mean teacher's Dice on some annotated training cases: if that
        is poor, so are the pseudo-labels.
        """
        self.labelled_epoch = self.current_epoch
        self.wait_for_others()  # whose loaders read the last round's labels
        if self.local_rank == 0:
            self.pseudo_labels.remove()
        self.wait_for_others()
        labels, folder = self.label_manager, self.preprocessed_dataset_folder
        cases, unlabelled = sorted(self.do_split()[0]), set(self.list_unlabelled())
        dataset = infer_dataset_class(folder)(folder, cases)
        judged = [case for case in cases if case not in unlabelled][:JUDGED_CASES]
        cases = [case for case in cases if case in judged or self.has_ignored_voxels(dataset, case)]
        if self.is_ddp:
            cases = cases[dist.get_rank() :: dist.get_world_size()]
        voxels, overlap = np.zeros(2, np.int64), np.zeros((3, len(labels.foreground_labels)), np.int64)
        for case in tqdm(cases, desc="pseudo-labels", unit="case", disable=None):
            image, annotation, _, _ = dataset.load_case(case)
            known = np.asarray(annotation[:])
            ignored = known == ignore_label(labels)
            pseudo = self.label_case(case, np.asarray(image[:]))
            if case in judged:
                overlap += count_label_overlap(pseudo, known, labels)
            if ignored.any():
                self.pseudo_labels.save(case, fill_ignored(known, pseudo, labels), labels)
                voxels += ignored.sum(), (ignored & (pseudo != ignore_label(labels))).sum()
        voxels, overlap = self.sum_of_processes(voxels), self.sum_of_processes(overlap)
        share, dice = voxels[1] / max(1, voxels[0]), float(mean_dice(torch.from_numpy(overlap)))
        self.print_to_log_file(
            f"pseudo-labels for {share:.1%} of the voxels without annotation; on {len(judged)} annotated training "
            f"cases their Dice is {dice:.4f}"
        )

    def sum_of_processes(self, counts: np.ndarray) -> np.ndarray:
        """Return the sum over the processes of a training by DDP, which wait for each other here."""
        if not self.is_ddp:
            return counts
        gathered: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(gathered, counts)
        total: np.ndarray = np.sum(gathered, axis=0)
        return total

    def wait_for_others(self) -> None:
        """Wait until all processes of a training by DDP are here."""
        if self.is_ddp:
            dist.barrier()

    def label_case(self, case: str, image: np.ndarray) -> np.ndarray:
        """Return pseudo-labels `(1, D, H, W)` of a preprocessed image `(C, D, H, W)`: what the mean teacher is sure of.

        Args:
            case: its name.
            image: normalised intensities.
        """
        return certain_labels(self.segment(image), self.label_manager, self.confidence).cpu().numpy()[None]

    def segment(self, image: np.ndarray) -> torch.Tensor:
        """Return the mean teacher's logits `(K, D, H, W)` of an image `(C, D, H, W)`, by nnU-Net's sliding window."""
        predictor = nnUNetPredictor(use_mirroring=False, device=self.device, allow_tqdm=False)
        teacher = self.start_mean_teacher().module
        predictor.manual_initialization(
            teacher, self.plans_manager, self.configuration_manager, None, self.dataset_json, type(self).__name__, None
        )
        logits = predictor.predict_sliding_window_return_logits(torch.from_numpy(image.astype(np.float32)))
        return torch.as_tensor(logits).cpu()  # a whole volume's may not fit beside the training's memory

    def start_mean_teacher(self) -> AveragedModel:
        """Return the mean teacher; on the first call it is a copy of the network."""
        if self.mean_teacher is None:
            average = get_ema_multi_avg_fn(self.teacher_decay)
            self.mean_teacher = AveragedModel(self.bare_network, multi_avg_fn=average, use_buffers=True)
            self.mean_teacher.requires_grad_(False).eval()
        return self.mean_teacher

    def list_networks(self) -> list[torch.nn.Module]:
        """The network and its mean teacher."""
        return [self.network, self.start_mean_teacher().module]

    def on_train_epoch_start(self) -> None:
        """Make pseudo-labels where a round begins, and start nnU-Net's loaders anew with them."""
        super().on_train_epoch_start()
        if self.current_epoch in self.round_epochs and self.labelled_epoch != self.current_epoch:
            for loader in (self.dataloader_train, self.dataloader_val):
                if isinstance(loader, NonDetMultiThreadedAugmenter):
                    loader._finish()
            self.make_pseudo_labels()
            self.dataloader_train, self.dataloader_val = self.get_dataloaders()

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Take one step of nnU-Net's, then update the mean teacher."""
        outputs = super().train_step(batch)
        self.start_mean_teacher().update_parameters(self.bare_network)
        return outputs

    def on_train_end(self) -> None:
        """End as nnU-Net does; release the mean teacher and remove the pseudo-labels before the final validation."""
        self.mean_teacher = None
        super().on_train_end()
        if self.local_rank == 0:
            self.pseudo_labels.remove()


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
