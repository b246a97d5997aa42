"""nnU-Net's trainer as a base class: settings as class attributes, whole checkpoints, and types."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.collate_outputs import collate_outputs

from ser_nnunet.errors import UserError
from ser_nnunet.nnunet.annotated_cases import find_unannotated
from ser_nnunet.nnunet.log import epoch_log, make_plain
from ser_nnunet.nnunet.model_record import add_record, record_in_plans, unwrap, write_readme
from ser_nnunet.utils.files import replacing
from ser_nnunet.utils.locks import ExclusiveLock
from ser_nnunet.utils.model_format import RECORD, require_known_format
from ser_nnunet.utils.variables import CHECKPOINT_SECONDS, read_seconds

# What nnUNetTrainer's __init__ sets on the object, apart from what it derives from plans and paths.
SETTINGS = (
    "num_epochs",
    "num_iterations_per_epoch",
    "num_val_iterations_per_epoch",
    "initial_lr",
    "weight_decay",
    "oversample_foreground_percent",
    "probabilistic_oversampling",
    "save_every",
    "enable_deep_supervision",
    "disable_checkpointing",
)
RENAMED = {  # names of version 0.1.0
    "epochs": "num_epochs",
    "iterations_per_epoch": "num_iterations_per_epoch",
    "val_iterations_per_epoch": "num_val_iterations_per_epoch",
    "learning_rate": "initial_lr",
    "decay": "weight_decay",
    "batch": "batch_size",
}
GRADIENT_NORM = 12.0  # at which nnU-Net clips gradients
LOADED_BY_CONTINUE = ("checkpoint_final.pth", "checkpoint_latest.pth", "checkpoint_best.pth")  # the first that is there


class TrainingStoppedError(UserError):
    """A training that can't go on, because a loss or a weight is NaN or Inf; its last checkpoint is kept."""


if TYPE_CHECKING:

    class TypedTrainer(nnUNetTrainer):
        """nnUNetTrainer with the types that its attributes have once it is initialised, and its methods' signatures.

        nnU-Net sets these attributes to None at first and annotates few methods, which a type checker takes literally.
        """

        num_input_channels: int  # type: ignore[assignment]
        network: torch.nn.Module  # type: ignore[assignment]
        optimizer: torch.optim.Optimizer  # type: ignore[assignment]
        loss: torch.nn.Module  # type: ignore[assignment]
        grad_scaler: torch.amp.GradScaler | None
        output_folder: str
        preprocessed_dataset_folder: str
        log_file: str
        inference_allowed_mirroring_axes: tuple[int, ...] | None  # type: ignore[assignment]

        def initialize(self) -> None: ...
        def do_split(self) -> tuple[list[str], list[str]]: ...
        def on_train_start(self) -> None: ...
        def on_train_epoch_start(self) -> None: ...
        def on_epoch_end(self) -> None: ...
        def on_train_end(self) -> None: ...
        def perform_actual_validation(self, save_probabilities: bool = False) -> None: ...
        def run_training(self) -> None: ...
        def print_to_log_file(
            self, *args: object, also_print_to_console: bool = True, add_timestamp: bool = True
        ) -> None: ...
else:
    TypedTrainer = nnUNetTrainer


class BaseTrainer(TypedTrainer):
    """nnU-Net's trainer with nnU-Net's settings as class attributes, which subclasses and mixins may change.

    Attributes that nnUNetTrainer's `__init__` sets (`SETTINGS`) take the class's value where the class has one. A
    subclass may also set them in its own `__init__`, after `super().__init__(...)`, as in nnU-Net.

    Attributes:
        batch_size: patches per step, over all GPUs, instead of the plan's; None keeps the plan's.
        batch_factor: multiplies that batch size. nnU-Net's planner chooses it for the memory that its U-Net needs.
        uses_unlabelled: whether cases without any annotated voxel (all of nnU-Net's ignore label) are trained on.
    """

    batch_size: int | None = None
    batch_factor = 1
    uses_unlabelled = False
    finished_batches = 0
    """Steps of the current epoch that `require_finite` has seen."""
    _lock: ExclusiveLock | None = None
    _saved_at: float | None = None
    _longest_gap = math.inf
    _unannotated: dict[str, bool]
    loaded_record: Mapping[str, Any] = {}
    """What the loaded checkpoint says of the code that wrote it; empty for checkpoints of others."""

    def __init_subclass__(cls, **arguments: Any) -> None:
        """Refuse names of version 0.1.0, which would be ignored."""
        super().__init_subclass__(**arguments)
        renamed = [f"{old} is now {new}" for old, new in RENAMED.items() if hasattr(cls, old)]
        if renamed:
            raise TypeError(
                f"{cls.__name__}: {', '.join(renamed)}; SER's trainers use nnU-Net's names for its settings"
            )

    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),  # noqa: B008 (nnU-Net's signature)
    ) -> None:
        super().__init__(plans, configuration, fold, dataset_json, device)
        self._unannotated = {}
        for name in SETTINGS:
            if hasattr(type(self), name):
                setattr(self, name, getattr(type(self), name))

    def initialize(self) -> None:
        """Build everything as nnU-Net does, with the class's batch size if it has one."""
        if not self.was_initialized:
            planned = self.configuration_manager.configuration
            planned["batch_size"] = self.batch_factor * (self.batch_size or planned["batch_size"])
        super().initialize()

    def on_train_start(self) -> None:
        """Begin as nnU-Net does, unless another training is writing into the same folder.

        plans.json and SERNET.md in the model folder say which code the model is from and how to predict with it.

        Raises:
            UserError: names the process that does, and since when.
        """
        if not self.was_initialized:
            self.initialize()
        self._longest_gap = read_seconds(CHECKPOINT_SECONDS)
        self.claim_folder()
        super().on_train_start()
        if self.local_rank == 0 and not self.disable_checkpointing:
            write_readme(self, Path(self.output_folder))
        self._saved_at = time.monotonic()

    def claim_folder(self) -> None:
        """Keep other trainings from writing into the fold's folder; nothing happens where that is done already.

        Also without checkpoints: the validation's files are in that folder.

        Raises:
            UserError: another training is writing there; names its process, and since when.
        """
        if self.local_rank == 0 and self._lock is None:
            folder = Path(self.output_folder)
            folder.mkdir(parents=True, exist_ok=True)
            lock = ExclusiveLock(folder / ".training.lock", f"a training in {folder}")
            lock.acquire()
            self._lock = lock

    def do_split(self) -> tuple[list[str], list[str]]:
        """Return the fold's training and validation cases, without those that have no annotated voxel.

        Where nnU-Net's ignore label covers a whole case, there is nothing to validate, and nothing to learn without
        pseudo-labels.

        Raises:
            UserError: no training or no validation case is left.
        """
        training, validation = super().do_split()
        cases = [*validation] if self.uses_unlabelled else [*training, *validation]
        left_out = set(self.list_unannotated(cases))
        if left_out:
            self.print_to_log_file(f"{len(left_out)} cases without any annotated voxel are left out")
        kept = [case for case in training if self.uses_unlabelled or case not in left_out]
        validated = [case for case in validation if case not in left_out]
        for part, before, after in (("training", training, kept), ("validation", validation, validated)):
            if before and not after:
                raise UserError(f"fold {self.fold}: none of its {len(before)} {part} cases has an annotated voxel")
        return kept, validated

    def list_unannotated(self, cases: Iterable[str]) -> list[str]:
        """Return the cases without any annotated voxel; each case's properties are read once."""
        wanted = list(dict.fromkeys(cases))
        unknown = [case for case in wanted if case not in self._unannotated]
        found = set(find_unannotated(self.preprocessed_dataset_folder, unknown, self.label_manager))
        self._unannotated |= {case: case in found for case in unknown}
        return [case for case in wanted if self._unannotated[case]]

    def print_plans(self) -> None:
        """Print the plans as nnU-Net does, then add the model's record, which nnU-Net saves next.

        Printed with them, the text for SERNET.md would be one line of 1500 characters.
        """
        super().print_plans()
        record_in_plans(self)

    def run_training(self) -> None:
        """Train as nnU-Net does; a training that stops before anything but its log was written leaves no folder."""
        try:
            super().run_training()
        except BaseException:
            self.discard_empty_folder()
            raise

    def discard_empty_folder(self) -> None:
        """Remove the fold's folder, and the folders around it that are empty, if it holds this training's log alone."""
        self.release_folder()
        folder, log = Path(self.output_folder), Path(self.log_file)
        if self.local_rank == 0 and folder.is_dir() and all(file == log for file in folder.iterdir()):
            log.unlink(missing_ok=True)
            with suppress(OSError):  # one of them holds something else
                for empty in (folder, folder.parent, folder.parent.parent):
                    empty.rmdir()

    def on_train_end(self) -> None:
        """End as nnU-Net does, and let other trainings write into the folder."""
        super().on_train_end()
        self.release_folder()

    def release_folder(self) -> None:
        """Let other trainings write into the folder; the end of the process does that, too."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:
        """Validate as nnU-Net does; no training can begin in the folder meanwhile.

        During a training, its checkpoints can be validated in another process, as in nnU-Net.
        """
        with suppress(UserError):
            self.claim_folder()
        try:
            super().perform_actual_validation(save_probabilities)
        finally:
            self.release_folder()

    def on_train_epoch_start(self) -> None:
        """Begin to count the epoch's batches."""
        super().on_train_epoch_start()
        self.finished_batches = 0

    def on_epoch_end(self) -> None:
        """End as nnU-Net does; save the epoch also when the last checkpoint is older than `SER_CHECKPOINT_SECONDS`.

        A job that is stopped at its time limit then loses no more than that, whatever `save_every` is.
        """
        save_every = self.save_every
        if self._saved_at is not None and time.monotonic() - self._saved_at >= self._longest_gap:
            self.save_every = 1
        try:
            super().on_epoch_end()
        finally:
            self.save_every = save_every

    def require_finite(self, losses: Mapping[str, torch.Tensor], batch: Mapping[str, Any]) -> None:
        """Stop the training at the first loss that is NaN or Inf; call it once per training step, after the step.

        nnU-Net would train on: every weight becomes NaN, and the next checkpoint replaces the last good one.

        Args:
            losses: name -> scalar.
            batch: nnU-Net's, for the names of its cases.

        Raises:
            TrainingStoppedError: names epoch, batch, cases, losses and the likely cause.
        """
        self.finished_batches += 1
        bad = [f"{name} is {loss.item():g}" for name, loss in losses.items() if not torch.isfinite(loss).all()]
        if not bad:
            return
        cases = [str(key) for key in batch.get("keys", ())]
        images = batch["data"].flatten(1)
        faulty = [str(index) for index, row in enumerate(images) if not torch.isfinite(row).all()]
        faulty = [cases[int(index)] if cases else f"number {index}" for index in faulty]
        if faulty:
            cause = f"the images of {', '.join(faulty)} hold NaN or Inf: correct them and preprocess again"
        else:
            cause = f"the images are finite; a lower initial_lr (now {self.initial_lr:g}) may prevent it"
        raise TrainingStoppedError(
            f"epoch {self.current_epoch}, batch {self.finished_batches} of {self.num_iterations_per_epoch} "
            f"(cases {', '.join(cases) or 'unknown'}): {', '.join(bad)}; {cause}. {self._describe_last_checkpoint()}"
        )

    def _describe_last_checkpoint(self) -> str:
        kept = sorted(Path(self.output_folder).glob("checkpoint_*.pth"), key=lambda file: file.stat().st_mtime)
        if not kept:
            return "No checkpoint had been written yet"
        loaded = next((name for name in LOADED_BY_CONTINUE if any(file.name == name for file in kept)), kept[-1].name)
        advice = f"nnUNetv2_train ... --c continues from {loaded}"
        if loaded == LOADED_BY_CONTINUE[0]:
            advice = f"move {loaded}, of a finished training, away before nnUNetv2_train ... --c, which would load it"
        return f"The last checkpoint is kept: {kept[-1]} ({advice})"

    def list_networks(self) -> list[torch.nn.Module]:
        """The networks that compute in a training step: the one that is trained, then those that it learns from."""
        return [self.network]

    @property
    def bare_network(self) -> torch.nn.Module:
        """The network under DDP's and torch.compile's wrappers."""
        return unwrap(self.network)

    def backward_and_step(self, loss: torch.Tensor) -> None:
        """Backward pass, gradient clipping and optimiser step as in nnU-Net; through the scaler on a GPU."""
        scaler = self.grad_scaler
        torch.autograd.backward(loss if scaler is None else scaler.scale(loss))
        if scaler is not None:
            scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), GRADIENT_NORM)
        if scaler is None:
            self.optimizer.step()
        else:
            scaler.step(self.optimizer)
            scaler.update()

    def gather_outputs(self, outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the collated outputs of an epoch's steps, one entry per GPU, the same on every GPU."""
        collated = collate_outputs(outputs)
        if not self.is_ddp:
            return [collated]
        gathered: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(gathered, collated)
        return gathered

    def save_checkpoint(self, filename: str) -> None:
        """Save as nnU-Net does, completely or not at all: a training killed while saving keeps its last checkpoint.

        The checkpoint says which code wrote it, and names the trainer class that can build its network (see
        `model_record.py`). What is not a tensor is saved as Python's own numbers and texts, so that
        `torch.load(..., weights_only=True)`, which runs no code of the file, can read it.

        Raises:
            TrainingStoppedError: a weight is NaN or Inf; the last checkpoint is kept.
        """
        if self.local_rank != 0 or self.disable_checkpointing:
            super().save_checkpoint(filename)  # which writes nothing
            return
        bad = [name for name, value in self.bare_network.state_dict().items() if not torch.isfinite(value).all()]
        if bad:
            raise TrainingStoppedError(
                f"epoch {self.current_epoch}: {len(bad)} tensors of the network hold NaN or Inf, {bad[0]} first; "
                f"{Path(filename).name} is not written. {self._describe_last_checkpoint()}"
            )
        log = epoch_log(self)
        log.update(make_plain(log))
        self._best_ema = make_plain(self._best_ema)
        with replacing(Path(filename)) as unfinished:
            super().save_checkpoint(str(unfinished))
            add_record(unfinished, self)
        if Path(filename).name == "checkpoint_latest.pth":
            self._saved_at = time.monotonic()

    def load_checkpoint(self, filename_or_checkpoint: dict[str, Any] | str) -> None:
        """Load as nnU-Net does.

        Raises:
            UserError: the checkpoint is of another model format, or doesn't fit the network.
        """
        content = filename_or_checkpoint
        if isinstance(content, str):
            content = torch.load(content, map_location="cpu", weights_only=False, mmap=True)
        require_known_format(content, filename_or_checkpoint if isinstance(filename_or_checkpoint, str) else "it")
        self.loaded_record = content.get(RECORD) or {}
        super().load_checkpoint(filename_or_checkpoint)


def mixed_precision(device: torch.device) -> AbstractContextManager[Any]:
    """Switch autocast on, on a GPU, as nnU-Net does for a training step."""
    return torch.autocast("cuda", enabled=True) if device.type == "cuda" else nullcontext()
