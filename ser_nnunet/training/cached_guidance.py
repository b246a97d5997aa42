"""Guidance on unaugmented slices whose SAM embeddings are computed once: SAM's encoder takes no part in a step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ser_nnunet.network.layers import crop
from ser_nnunet.training.cached_slices import CachedSlices, KeptSlices, SlicePart
from ser_nnunet.training.guidance import Guidance, GuidedStep
from ser_nnunet.training.losses import binary_targets
from ser_nnunet.training.pseudo_labels import find_ignored, ignore_outside, pseudo_targets
from ser_nnunet.training.slices import GuidedSlices


class CachedGuidance(Guidance):
    """Parts of whole, unaugmented slices are added to each batch, and SAM sees these alone.

    The network computes prompts and logits of all; nnU-Net's loss is taken on its own batch, the losses of SAM's masks
    on the added parts. SAM's mask decoder gets the embedding of the whole slice.

    Attributes:
        cached: draws the parts.
        drawn: the parts of the present step.
    """

    cached: CachedSlices
    drawn: tuple[SlicePart, ...] = ()

    def choose_cases(self) -> list[list[KeptSlices]]:
        """Return the groups of cases from which parts are drawn in turn."""
        return [self.cached.kept]

    def add_patches(self, data: torch.Tensor) -> torch.Tensor:
        """Return a batch `(B, C, H, W)` with the parts of slices behind it."""
        rows, columns = self.prompt_stride
        groups = [group for group in self.choose_cases() if group]
        self.drawn = tuple(
            self.cached.draw(groups[number % len(groups)], (rows, columns))
            for number in range(self.settings.slices_per_step)
        )
        return torch.cat([data, torch.stack([part.image for part in self.drawn]).to(data)])

    def select_slices(
        self, data: torch.Tensor, prompt: torch.Tensor, logits: torch.Tensor, target: torch.Tensor
    ) -> GuidedSlices:
        """Return the added parts (arguments as in `step`; `target` is that of nnU-Net's batch alone)."""
        count = len(target)
        rows, columns = self.prompt_stride
        drawn = torch.stack([part.target for part in self.drawn]).to(target.device)
        targets = binary_targets(drawn, self.labels)
        return GuidedSlices(data[count:], prompt[count:], logits[count:], targets, (rows, columns))

    def predict_masks(self, slices: GuidedSlices) -> torch.Tensor:
        """Return SAM's mask logits of the added parts, `(S, P, H, W)`, differentiable in the prompts."""
        masks = [
            self.guide.decode_part(
                part.embedding.to(slices.data.device), prompt, part.size, part.first, slices.prompt_stride
            )
            for part, prompt in zip(self.drawn, slices.prompt, strict=True)
        ]
        return crop(torch.stack(masks), slices.data.shape[2:])

    def describe(self) -> str:
        """Return which SAM guides and on how many slices, for the log."""
        count = sum(len(case.positions) for case in self.cached.kept)
        cases, folder = len(self.cached.kept), self.cached.store.folder
        return f"{super().describe()}; embeddings of {count} slices of {cases} cases in {folder}"


class SemiGuidance(CachedGuidance):
    """CachedGuidance that also makes pseudo-labels on parts without annotation.

    Attributes:
        by: whose pseudo-labels they are: `agreement` of SAM's masks and the mean teacher, `SAM` or `teacher` alone.
        confidence: smallest probability of a pseudo-label.
        mean_teacher: returns logits of patches.
        dist_loss: nnU-Net's loss of logits and target.
        pseudo_weight: returns the loss's weight in this epoch.
        unlabelled: names of the cases without annotation.
    """

    by = "agreement"
    confidence = 0.8
    mean_teacher: Callable[[torch.Tensor], torch.Tensor]
    dist_loss: Callable[[torch.Tensor, torch.Tensor], Any]
    pseudo_weight: Callable[[], float]
    unlabelled: frozenset[str] = frozenset()

    def choose_cases(self) -> list[list[KeptSlices]]:
        """Return the cases with any annotation and, once there are pseudo-labels, those without, drawn in turn."""
        labelled, unlabelled = (
            [case for case in self.cached.kept if (case.case in self.unlabelled) == wanted] for wanted in (False, True)
        )
        return [labelled, unlabelled] if self.pseudo_weight() > 0 or not labelled else [labelled]

    def sum_losses(self, slices: GuidedSlices, masks: torch.Tensor) -> GuidedStep:
        """Return the losses of SAM's masks, with that of the network's output towards pseudo-labels added."""
        guided = super().sum_losses(slices, masks)
        target = self.label_parts(slices.data, masks)
        loss = self.fade * self.pseudo_weight() * self.dist_loss(slices.logits, target)
        return guided._replace(loss=guided.loss + loss)

    @torch.no_grad()
    def label_parts(self, data: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        """Return pseudo-labels of the parts in nnU-Net's format; what is annotated or uncertain is ignored.

        Args:
            data: images `(S, C, H, W)`.
            masks: SAM's logits `(S, P, H, W)`.
        """
        labels = self.labels
        annotation = torch.stack([part.target for part in self.drawn]).to(masks.device)
        background = torch.zeros_like(masks[:, :1])
        sams = masks if labels.has_regions else torch.cat([background, masks], 1)
        if self.by == "SAM":
            target = pseudo_targets(sams.float(), labels, self.confidence)
        else:
            target = pseudo_targets(self.mean_teacher(data).float(), labels, self.confidence)
        kept = find_ignored(annotation, labels)
        if self.by == "agreement":
            seen = pseudo_targets(sams.float(), labels, 0.5)
            names = seen[:, :-1] == target[:, :-1] if labels.has_regions else seen == target
            kept = kept & names.all(1, keepdim=True)
        return ignore_outside(target, kept, labels)
