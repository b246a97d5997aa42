"""SERTrainerCached and SERTrainerSemi: guided on slices whose SAM embeddings are computed once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class, nnUNetDatasetBlosc2

from ser_nnunet.errors import UserError
from ser_nnunet.sam.embedding_store import find_store
from ser_nnunet.sam.guide import SAMGuide
from ser_nnunet.sam.refine import refine
from ser_nnunet.training.cached_guidance import CachedGuidance
from ser_nnunet.training.cached_slices import CachedSlices
from ser_nnunet.training.guidance import load_guide
from ser_nnunet.training.losses import one_vs_rest_logits
from ser_nnunet.training.pseudo_labels import certain_labels, ignore_label, keep_agreed
from ser_nnunet.training.semi_trainer import SERTrainerSemiNoSAM
from ser_nnunet.training.trainer import SERTrainer

BYTES_PER_TOKEN = 2 * 256  # float16


def open_cache(trainer: SERTrainer, cases: Sequence[str], gigabytes: float) -> tuple[CachedSlices, SAMGuide]:
    """Embed slices of the cases where that hasn't been done; return them, and SAM without its image encoder.

    Every preprocessed case has the same share of the disk, so that all folds share their embeddings. Processes that
    begin together (folds, or those of DDP) share the work.

    Args:
        trainer: whose settings are used; needs no network.
        cases: preprocessed ones.
        gigabytes: of all embeddings on disk at most; every case has a slice at least. The number of slices of a case
            is a power of two, so that a few more cases change nothing.

    Raises:
        UserError: the cases are in an earlier format of nnU-Net.
    """
    settings, folder = trainer.guidance_settings, Path(trainer.preprocessed_dataset_folder)
    guide = load_guide(settings, trainer.device, type(trainer).__name__)
    assert settings.checkpoint
    tokens, preprocessed = guide.sam.prompt_encoder.image_embedding_size, len(list(folder.glob("*.pkl")))
    affordable = gigabytes * 1e9 / (BYTES_PER_TOKEN * tokens[0] * tokens[1] * max(1, preprocessed))
    per_case = 2 ** int(np.log2(max(1, affordable)))
    seen = settings.channels, settings.masked_channels
    store = find_store(folder, settings.checkpoint, guide.image_size, *seen, per_case)
    storage = infer_dataset_class(str(folder))
    if storage is not nnUNetDatasetBlosc2:
        raise UserError(f"{folder} is in an earlier format of nnU-Net: preprocess again")
    dataset = storage(str(folder), sorted(cases))
    patch = trainer.configuration_manager.patch_size
    seed = torch.initial_seed() % 2**32 + trainer.local_rank
    cached = CachedSlices(dataset, folder, trainer.label_manager, store, patch, seed)
    cached.embed(sorted(cases), per_case, guide, settings, trainer.device)
    guide.release_encoder()
    return cached, guide


def build_cached_guidance(trainer: SERTrainer, gigabytes: float) -> CachedGuidance:
    """Return the guidance that uses the embeddings of the fold's training cases (arguments as `open_cache`)."""
    cached, guide = open_cache(trainer, trainer.do_split()[0], gigabytes)
    guidance = CachedGuidance(
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
            "or take a trainer whose SAM sees slices of the patches (SERTrainer) or none (SERTrainerNoSAM, or "
            "SERTrainerSemiNoSAM for cases without annotation)"
        )


class SERTrainerCached(SERTrainer):
    """SERTrainer on unaugmented slices beside the batch; SAM's encoder sees each of them once, before training.

    Attributes:
        sam_cache_gigabytes: of embeddings on disk at most, beside the preprocessed cases.
    """

    sam_cache_gigabytes = 4.0

    @classmethod
    def refuse_unsupported(cls, plans: dict[str, Any], configuration: str) -> None:
        """Raise NotImplementedError in 3D."""
        refuse_3d(cls.__name__, plans, configuration)

    def build_guidance(self) -> CachedGuidance:
        """Embed the training cases where that hasn't been done; return what SAM does in a step."""
        return build_cached_guidance(self, self.sam_cache_gigabytes)


class SERTrainerSemi(SERTrainerSemiNoSAM):
    """SERTrainerSemiNoSAM with SAM: pseudo-labels are kept where SAM, prompted by the mean teacher's masks, agrees.

    As in SERTrainerCached, SAM also guides the training on slices of the annotated cases.

    Attributes:
        sam_cache_gigabytes: of embeddings on disk at most, beside the preprocessed cases. Slices that aren't kept have
            no pseudo-labels.
    """

    guided_fraction = 1.0
    joint = True
    sam_cache_gigabytes = 4.0

    def initialize(self) -> None:
        """Build everything as nnU-Net does; refuse rounds after SAM was released."""
        super().initialize()
        last, guided = self.round_epochs[-1], self.schedule.guided_epochs
        if last >= guided:
            raise ValueError(
                f"rounds must lie before the end of SAM (guided_fraction, {self.guided_fraction}): the last one of "
                f"{self.rounds} is epoch {last} of {self.num_epochs}, and SAM guides the first {guided}"
            )

    @classmethod
    def refuse_unsupported(cls, plans: dict[str, Any], configuration: str) -> None:
        """Raise NotImplementedError in 3D."""
        refuse_3d(cls.__name__, plans, configuration)

    def build_guidance(self) -> CachedGuidance:
        """Embed the training cases where that hasn't been done; return what SAM does in a step."""
        return build_cached_guidance(self, self.sam_cache_gigabytes)

    def label_case(self, case: str, image: np.ndarray) -> np.ndarray:
        """Return pseudo-labels `(1, D, H, W)` of a preprocessed image, where the mean teacher and SAM agree."""
        logits = self.segment(image)
        pseudo = certain_labels(logits, self.label_manager, self.confidence).cpu().numpy()
        seen = self.ask_sam(case, logits).cpu().numpy()
        return keep_agreed(pseudo, seen, self.label_manager)[None]

    def ask_sam(self, case: str, logits: torch.Tensor) -> torch.Tensor:
        """Return SAM's label map `(D, H, W)` of a case; slices whose embedding isn't kept are ignored.

        Args:
            case: its name.
            logits: the mean teacher's, `(K, D, H, W)`.
        """
        assert isinstance(self.guidance, CachedGuidance)
        labels, cached = self.label_manager, self.guidance.cached
        kept = next(found for found in cached.kept if found.case == case)
        seen = torch.full(logits.shape[1:], ignore_label(labels), device=logits.device)
        masks = one_vs_rest_logits(logits[None].float(), labels)[0]
        for number, position in enumerate(kept.positions):
            embedding = cached.store.load(case, number).to(self.device)
            refined = refine(self.guidance.guide, embedding, masks[:, position].to(self.device))
            if not labels.has_regions:
                refined = torch.cat([torch.zeros_like(refined[:1]), refined])
            seen[position] = certain_labels(refined, labels, 0.0).to(seen)
        return seen
