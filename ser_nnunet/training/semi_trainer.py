"""SERTrainerSemiNoSAM: learns from annotated voxels and, by pseudo-labels, from those with nnU-Net's ignore label."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from batchgenerators.dataloading.nondet_multi_threaded_augmenter import NonDetMultiThreadedAugmenter
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class
from tqdm import tqdm

from ser_nnunet.errors import UserError
from ser_nnunet.nnunet.log import epoch_log
from ser_nnunet.training.pseudo_label_files import PseudoLabelFiles, PseudoLabelledCases, repeat_cases
from ser_nnunet.training.pseudo_labels import certain_labels, fill_ignored, ignore_label
from ser_nnunet.training.variants import SERTrainerNoSAM
from ser_nnunet.utils.files import replacing

INITIAL_WEIGHTS = "initial_weights.pth"


class SERTrainerSemiNoSAM(SERTrainerNoSAM):
    """Self-training: the network labels what has nnU-Net's ignore label, and a new one learns from all cases.

    For few annotated and many other scans: give the others the label "ignore" (`ser-nnunet convert --unlabelled` does),
    and list them among the training cases of splits_final.json. Partly annotated scans work alike. Until the first
    round only cases with annotation are trained on. In each round the network (the teacher) segments all training cases
    with ignored voxels, unaugmented and mirrored as for a prediction. Then the training starts anew, from the weights
    and the rate that it began with, and the pseudo-labels take the place of the ignore label (noisy student, arXiv
    1911.04252: the student sees augmented patches).

    Attributes:
        rounds: shares of the epochs at which pseudo-labels are made.
        labelled_share: of the patches that come from cases with any annotation, once there are pseudo-labels. It is
            larger where annotated cases are a larger share of all.
        confidence: smallest probability of a pseudo-label, 0.5 to 1; less certain voxels stay ignored.
    """

    rounds: tuple[float, ...] = (0.5,)
    labelled_share = 0.2
    confidence = 0.5
    uses_unlabelled = True
    teacher: nnUNetPredictor | None = None
    """Of the present round, while it makes pseudo-labels."""
    labelled_epoch: int | None = None
    """The round whose pseudo-labels this process trains with."""
    _initial_weights: dict[str, torch.Tensor]
    _keeps_files = True
    """Whether the files in the fold's folder are those of this training."""
    _ignored: dict[str, bool]

    def initialize(self) -> None:
        """Build everything as nnU-Net does; refuse impossible settings and data sets without an ignore label."""
        super().initialize()
        self._ignored = {}
        bounds = {"labelled_share": (0, 1), "confidence": (0.5, 1)}
        problems = [
            f"{name} must lie between {low} and {high}, {getattr(self, name)} given"
            for name, (low, high) in bounds.items()
            if not low <= getattr(self, name) <= high
        ]
        if not self.rounds or not all(0 < share < 1 for share in self.rounds):
            problems.append(f"rounds must be shares of the epochs between 0 and 1, {self.rounds} given")
        if self.num_epochs < 2:
            problems.append(f"num_epochs must be 2 at least, for teacher and student; {self.num_epochs} given")
        if hasattr(self, "teacher_decay"):
            problems.append("teacher_decay has no effect any more: the network itself makes the pseudo-labels")
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
    def restart_epochs(self) -> set[int]:
        """The epochs in which the rate's decay and the optimiser begin anew: a student starts."""
        return super().restart_epochs | {*self.round_epochs}

    @property
    def pseudo_label_folder(self) -> Path:
        """The folder with the pseudo-labels of all rounds, in the fold's folder while the training runs."""
        return Path(self.output_folder) / "pseudo_labels"

    def pseudo_labels(self, epoch: int) -> PseudoLabelFiles:
        """Return where those of the round before an epoch are."""
        return PseudoLabelFiles(self.pseudo_label_folder / f"epoch_{epoch}")

    @property
    def initial_weights(self) -> Path:
        """The file with the weights that the training began with, in the fold's folder while it runs."""
        return Path(self.output_folder) / INITIAL_WEIGHTS

    @property
    def unlabelled_cases(self) -> list[str]:
        """The fold's training cases without any annotated voxel."""
        return self.list_unannotated(self.do_split()[0])

    def on_train_start(self) -> None:
        """Begin as nnU-Net does; keep the initial weights for the students.

        Raises:
            UserError: a resumed training lacks the files that it wrote before, or had other rounds.
        """
        if not self.was_initialized:
            self.initialize()
        if self.current_epoch == 0:
            self._initial_weights, self._keeps_files = copy_to_cpu(self.bare_network), False
        elif self.current_epoch < self.num_epochs:
            self.require_files()
            self._initial_weights = torch.load(self.initial_weights, map_location="cpu", weights_only=True)
        super().on_train_start()

    def require_files(self) -> None:
        """Raise UserError if the fold's folder lacks what a resumed training needs."""
        rounds = [int(folder.name.removeprefix("epoch_")) for folder in self.pseudo_label_folder.glob("epoch_*")]
        kept = sorted(epoch for epoch in rounds if epoch < self.current_epoch and self.pseudo_labels(epoch).has_teacher)
        begun = [epoch for epoch in self.round_epochs if epoch < self.current_epoch]
        if kept[-1:] != begun[-1:]:
            raise UserError(
                f"{self.pseudo_label_folder}: the round before epoch {self.current_epoch} should have been at "
                f"{begun[-1] if begun else 'none'}, and is kept of {kept[-1] if kept else 'none'}. A training can't be "
                "resumed with other num_epochs or rounds, with another version's trainer or without this folder: undo "
                "the change, or start the training anew"
            )
        if not self.initial_weights.is_file():
            raise UserError(
                f"{self.initial_weights} is missing: the weights that the training began with, from which its students "
                "start. Restore the file, or start the training anew"
            )

    def save_checkpoint(self, filename: str) -> None:
        """Save as nnU-Net does; before the first checkpoint replace the files of an earlier training."""
        if self.local_rank == 0 and not self.disable_checkpointing and not self._keeps_files:
            shutil.rmtree(self.pseudo_label_folder, ignore_errors=True)
            with replacing(self.initial_weights) as unfinished:
                torch.save(self._initial_weights, unfinished)
            self._keeps_files = True
        super().save_checkpoint(filename)

    def get_tr_and_val_datasets(self) -> tuple[Any, Any]:
        """Return nnU-Net's data sets; from the first round on, the first one has pseudo-labels.

        Cases are repeated in it so that `labelled_share` of the draws have annotation.

        Raises:
            UserError: the cases are in an earlier format of nnU-Net, none has annotation, or there is nothing to label.
        """
        training, validation = super().get_tr_and_val_datasets()
        unlabelled = self.unlabelled_cases
        labelled = [case for case in training.identifiers if case not in set(unlabelled)]
        if not hasattr(training, "mmap_kwargs"):
            raise UserError(f"{training.source_folder} is in an earlier format of nnU-Net: preprocess again")
        if not labelled:
            raise UserError(f"fold {self.fold}: none of {len(unlabelled)} training cases has an annotated voxel")
        if not any(self.has_ignored_voxels(training, case) for case in training.identifiers):
            raise UserError(
                f"fold {self.fold}: none of {len(labelled)} training cases has voxels with the label 'ignore', which "
                "pseudo-labels are for: take SERTrainerNoSAM, or add scans (ser-nnunet convert --unlabelled)"
            )
        drawn = labelled
        begun = [epoch for epoch in self.round_epochs if epoch < self.current_epoch]
        resumed = self.labelled_epoch is None and self.current_epoch not in self.round_epochs
        if begun and resumed and self.current_epoch < self.num_epochs:  # a finished training is only validated
            student = copy_to_cpu(self.bare_network)
            self.bare_network.load_state_dict(self.pseudo_labels(begun[-1]).load_teacher())
            self.make_pseudo_labels(begun[-1])
            self.bare_network.load_state_dict(student)
        if self.labelled_epoch is not None:
            drawn = repeat_cases(labelled, unlabelled, self.labelled_share)
        sampled = self.configure_rotation_dummyDA_mirroring_and_inital_patch_size()[2]
        patch = self.configuration_manager.patch_size
        files = None if self.labelled_epoch is None else self.pseudo_labels(self.labelled_epoch)
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

    def begin_round(self) -> None:
        """Let the network label what is ignored; begin anew with its initial weights and nnU-Net's loaders."""
        for loader in (self.dataloader_train, self.dataloader_val):
            if isinstance(loader, NonDetMultiThreadedAugmenter):
                loader._finish()
        if self.local_rank == 0:
            self.pseudo_labels(self.current_epoch).save_teacher(copy_to_cpu(self.bare_network))
        self.wait_for_others()
        self.make_pseudo_labels(self.current_epoch)
        self.bare_network.load_state_dict(self._initial_weights)
        self.dataloader_train, self.dataloader_val = self.get_dataloaders()

    def make_pseudo_labels(self, epoch: int) -> None:
        """Segment the training cases that have ignored voxels and no pseudo-labels yet; with DDP in shares.

        The network has its teacher's weights at this time.

        Args:
            epoch: the round.
        """
        files = self.pseudo_labels(epoch)
        self.teacher = nnUNetPredictor(
            perform_everything_on_device=self.device.type == "cuda", device=self.device, allow_tqdm=False
        )
        self.teacher.manual_initialization(
            self.bare_network,
            self.plans_manager,
            self.configuration_manager,
            None,
            self.dataset_json,
            type(self).__name__,
            self.inference_allowed_mirroring_axes,
        )
        labels, folder, cases = self.label_manager, self.preprocessed_dataset_folder, sorted(self.do_split()[0])
        dataset = infer_dataset_class(folder)(folder, cases)
        cases = [case for case in cases if self.has_ignored_voxels(dataset, case)]
        if self.is_ddp:
            cases = cases[dist.get_rank() :: dist.get_world_size()]
        voxels = np.zeros(2, np.int64)
        for case in tqdm(cases, desc="pseudo-labels", unit="case", disable=None):
            image, annotation, _, _ = dataset.load_case(case)
            known = np.asarray(annotation[:])
            if not files.holds(case):
                pseudo = self.label_case(case, np.asarray(image[:]))
                files.save(case, fill_ignored(known, pseudo, labels), labels)
            ignored, left = (part == ignore_label(labels) for part in (known, files.load(case)[0][:]))
            voxels += ignored.sum(), (ignored & ~left).sum()
        voxels = self.sum_of_processes(voxels)
        self.labelled_epoch, self.teacher = epoch, None
        self.network.train()
        share, dice = voxels[1] / max(1, voxels[0]), epoch_log(self)["mean_fg_dice"][epoch - 1 : epoch]
        self.print_to_log_file(
            f"pseudo-labels for {share:.1%} of the voxels without annotation, by the network of epoch {epoch - 1}"
            + "".join(f", whose pseudo Dice was {value:.4f}" for value in dice)
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
        """Return pseudo-labels `(1, D, H, W)` of a preprocessed image `(C, D, H, W)`: what the teacher is certain of.

        Args:
            case: its name.
            image: normalised intensities.
        """
        return certain_labels(self.segment(image), self.label_manager, self.confidence).cpu().numpy()[None]

    def segment(self, image: np.ndarray) -> torch.Tensor:
        """Return the teacher's logits `(K, D, H, W)` of an image `(C, D, H, W)`, by nnU-Net's sliding window."""
        assert self.teacher is not None
        logits = self.teacher.predict_sliding_window_return_logits(torch.from_numpy(image.astype(np.float32)))
        return torch.as_tensor(logits).cpu()  # a whole volume's may not fit beside the training's memory

    def on_train_epoch_start(self) -> None:
        """Begin a round where one is due."""
        super().on_train_epoch_start()
        if self.current_epoch in self.round_epochs:
            self.begin_round()

    def on_epoch_end(self) -> None:
        """End as nnU-Net does; save a student's first epoch, before which its teacher would have to label again."""
        save_every = self.save_every
        if self.current_epoch in self.round_epochs:
            self.save_every = 1
        try:
            super().on_epoch_end()
        finally:
            self.save_every = save_every

    def on_train_end(self) -> None:
        """End as nnU-Net does; remove the pseudo-labels and the initial weights before the final validation."""
        super().on_train_end()
        if self.local_rank == 0:
            shutil.rmtree(self.pseudo_label_folder, ignore_errors=True)
            self.initial_weights.unlink(missing_ok=True)


def copy_to_cpu(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return a copy of a network's weights and buffers."""
    return {name: value.detach().to("cpu", copy=True) for name, value in network.state_dict().items()}
