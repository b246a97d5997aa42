"""Guidance on unaugmented slices whose SAM embeddings are computed once: SAM's encoder takes no part in a step."""

from __future__ import annotations

import torch

from ser_nnunet.network.layers import crop
from ser_nnunet.training.cached_slices import CachedSlices, SlicePart
from ser_nnunet.training.guidance import Guidance
from ser_nnunet.training.losses import binary_targets
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

    def add_patches(self, data: torch.Tensor) -> torch.Tensor:
        """Return a batch `(B, C, H, W)` with the parts of slices behind it."""
        rows, columns = self.prompt_stride
        cases = self.cached.annotated
        self.drawn = tuple(self.cached.draw(cases, (rows, columns)) for _ in range(self.settings.slices_per_step))
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
        embeddings = torch.stack([part.embedding for part in self.drawn]).to(slices.data.device)
        places = [part.place for part in self.drawn]
        masks = self.guide.decode_parts(embeddings, slices.prompt, places, slices.prompt_stride)
        return crop(masks, slices.data.shape[2:])

    def describe(self) -> str:
        """Return which SAM guides and on how many slices, for the log."""
        count = sum(len(case.positions) for case in self.cached.kept)
        cases, folder = len(self.cached.kept), self.cached.store.folder
        return f"{super().describe()}; embeddings of {count} slices of {cases} cases in {folder}"
