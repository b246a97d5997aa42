"""SERTrainerCached and SERTrainerSemi: guided on slices whose SAM embeddings are computed once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class

from ser_nnunet.sam.embedding_store import find_store
from ser_nnunet.sam.guide import SAMGuide
from ser_nnunet.training.cached_guidance import CachedGuidance, SemiGuidance
from ser_nnunet.training.cached_slices import CachedSlices
from ser_nnunet.training.guidance import load_guide
from ser_nnunet.training.semi_trainer import SERTrainerSemiNoSAM
from ser_nnunet.training.trainer import SERTrainer
from ser_nnunet.training.variants import SERTrainerJoint

Kind = TypeVar("Kind", bound=CachedGuidance)
BYTES_PER_TOKEN = 2 * 256  # float16


def open_cache(trainer: SERTrainer, cases: Sequence[str], gigabytes: float) -> tuple[CachedSlices, SAMGuide]:
    """Embed slices of the cases where that hasn't been done; return them, and SAM without its image encoder.

    With DDP the first process embeds and the others wait.

    Args:
        trainer: whose settings are used; needs no network.
        cases: preprocessed ones.
        gigabytes: of all embeddings on disk at most; every case has a slice at least.
    """
    settings, folder = trainer.guidance_settings, Path(trainer.preprocessed_dataset_folder)
    guide = load_guide(settings, trainer.device, type(trainer).__name__)
    assert settings.checkpoint
    store = find_store(folder, settings.checkpoint, guide.image_size, settings.channels, settings.masked_channels)
    tokens = guide.sam.prompt_encoder.image_embedding_size
    per_case = max(1, int(gigabytes * 1e9 / (BYTES_PER_TOKEN * tokens[0] * tokens[1] * len(cases))))
    dataset = infer_dataset_class(str(folder))(str(folder), sorted(cases))
    patch = trainer.configuration_manager.patch_size
    seed = torch.initial_seed() % 2**32 + trainer.local_rank
    cached = CachedSlices(dataset, folder, trainer.label_manager, store, patch, seed)
    if trainer.is_ddp and trainer.local_rank != 0:
        dist.barrier()
    cached.embed(sorted(cases), per_case, guide, settings, trainer.device)
    if trainer.is_ddp and trainer.local_rank == 0:
        dist.barrier()
    guide.release_encoder()
    return cached, guide


def build_cached_guidance(trainer: SERTrainer, kind: type[Kind], gigabytes: float) -> Kind:
    """Return the guidance that uses the embeddings of the fold's training cases (arguments as `open_cache`)."""
    cached, guide = open_cache(trainer, trainer.do_split()[0], gigabytes)
    guidance = kind(
        guide,
        trainer.guidance_settings,
        trainer.label_manager,
        trainer.ser_net.prompt_learner.prompt_stride,
        batch_dice=trainer.configuration_manager.batch_dice,
        ddp=trainer.is_ddp,
    )
    guidance.cached = cached
    return guidance


def refuse_3d(trainer: str, plans: dict[str, Any], configuration: str) -> None:
    """Raise NotImplementedError for a 3D configuration: an embedding is that of a slice, not of a 3D patch's slices."""
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    if len(PlansManager(plans).get_configuration(configuration).patch_size) != 2:
        raise NotImplementedError(
            f"{trainer} keeps SAM's embeddings of whole slices, and {configuration} trains on 3D patches: train 2d, "
            "or take a trainer whose SAM sees slices of the patches (SERTrainerJoint) or none (SERTrainerNoSAM)"
        )


class SERTrainerCached(SERTrainerJoint):
    """SERTrainerJoint on unaugmented slices beside the batch; SAM's encoder sees each of them once, before training.

    Attributes:
        sam_cache_gigabytes: of embeddings on disk at most, beside the preprocessed cases.
    """

    sam_slices_per_step = 2
    sam_cache_gigabytes = 4.0

    @classmethod
    def refuse_unsupported(cls, plans: dict[str, Any], configuration: str) -> None:
        """Raise NotImplementedError in 3D."""
        refuse_3d(cls.__name__, plans, configuration)

    def build_guidance(self) -> CachedGuidance:
        """Embed the training cases where that hasn't been done; return what SAM does in a step."""
        return build_cached_guidance(self, CachedGuidance, self.sam_cache_gigabytes)


class SERTrainerSemi(SERTrainerSemiNoSAM):
    """SERTrainerSemiNoSAM guided by SAM: on slices without annotation SAM's masks and the mean teacher must agree.

    Attributes:
        pseudo_labels_by: on slices whose embeddings are kept: `agreement`, `SAM` or `teacher`.
        sam_cache_gigabytes: of embeddings on disk at most, beside the preprocessed cases.
    """

    guided_fraction = 1.0
    joint = True
    sam_slices_per_step = 4
    pseudo_labels_by = "agreement"
    sam_cache_gigabytes = 4.0

    @classmethod
    def refuse_unsupported(cls, plans: dict[str, Any], configuration: str) -> None:
        """Raise NotImplementedError in 3D."""
        refuse_3d(cls.__name__, plans, configuration)

    def build_guidance(self) -> SemiGuidance:
        """Embed the training cases where that hasn't been done; return what SAM does in a step."""
        guidance = build_cached_guidance(self, SemiGuidance, self.sam_cache_gigabytes)
        guidance.by, guidance.confidence = self.pseudo_labels_by, self.confidence
        guidance.mean_teacher = lambda patches: self.networks_in_training[1](patches)
        guidance.dist_loss = self.loss
        guidance.pseudo_weight = lambda: self.current_weight
        guidance.unlabelled = frozenset(self.unlabelled_cases)
        return guidance
