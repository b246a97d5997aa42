"""The systems that are compared: nnU-Net's network, SERNet, and pipelines that keep SAM for prediction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from torch import nn

from ser_nnunet.network.ser_net import SERNet
from ser_nnunet.nnunet.plans import Planned
from ser_nnunet.sam.architecture import SamArchitecture, build
from ser_nnunet.sam.guide import SAMGuide

if TYPE_CHECKING:
    from segment_anything.modeling import Sam

PROMPT_LEARNER_SIZE = 512  # pixels at which the paper's prompt learner sees a slice
SAM_SIZES = {  # embedding width, depth, heads, blocks with global attention (segment_anything.build_sam)
    "ViT-B": (768, 12, 12, (2, 5, 8, 11)),
    "ViT-L": (1024, 24, 16, (5, 11, 17, 23)),
    "ViT-H": (1280, 32, 16, (7, 15, 23, 31)),
}


def sam_architecture(size: str, image_size: int = 1024) -> SamArchitecture:
    """Return the sizes of the published `ViT-B`, `ViT-L` or `ViT-H`, at another image size if need be."""
    embed_dim, depth, heads, global_blocks = SAM_SIZES[size]
    return SamArchitecture(
        embed_dim=embed_dim, depth=depth, num_heads=heads, global_blocks=global_blocks, image_size=image_size
    )


class SAMPipeline(nn.Module):
    """The paper's prompt learner with SAM kept for prediction, as AutoSAM does: one whole axial slice per call.

    Shape:
        input `(B, C, 512, 512)`; output mask logits `(B, P, 512, 512)`. SAM sees the slice at its own image size.
    """

    def __init__(self, channels: int, prompts: int, sam: Sam) -> None:
        super().__init__()
        size = (PROMPT_LEARNER_SIZE, PROMPT_LEARNER_SIZE)
        self.prompt_learner = SERNet(channels, prompts + 1, size, num_prompts=prompts, preset="paper").prompt_learner
        self.prompts = prompts
        self.sam = sam

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Prompt, encode, decode."""
        prompt, _ = self.prompt_learner(image)
        return SAMGuide(self.sam)(image, prompt.unflatten(1, (self.prompts, -1)))


@dataclass(frozen=True)
class System:
    """One system to be measured.

    Attributes:
        name: for the tables.
        kind: `nnunet`, `sernet` or `sam`.
        planned: the plan that it is sized by.
        variant: SERNet's preset, or SAM's size.
    """

    name: str
    kind: str
    planned: Planned
    variant: str = ""

    def build(self) -> nn.Module:
        """Return the network in eval mode; under `torch.device("meta")` it takes no memory."""
        builders = {"nnunet": nnunet_network, "sernet": self._ser_net, "sam": self._sam_pipeline}
        return builders[self.kind](self.planned).eval()

    def _ser_net(self, planned: Planned) -> nn.Module:
        return SERNet(
            planned.channels, planned.heads, planned.patch, planned.strides, planned.prompts, preset=self.variant
        )

    def _sam_pipeline(self, planned: Planned) -> nn.Module:
        return SAMPipeline(planned.channels, planned.prompts, build(sam_architecture(self.variant)))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """What one call of the network sees, batch included."""
        size = (PROMPT_LEARNER_SIZE, PROMPT_LEARNER_SIZE) if self.kind == "sam" else self.planned.patch
        return 1, self.planned.channels, *size

    @property
    def calls(self) -> int:
        """Calls of the network per volume: tiles, or whole slices for SAM."""
        return self.planned.volume[0] if self.kind == "sam" else self.planned.calls

    @property
    def mirrored(self) -> int:
        """Multiplier of the calls with nnU-Net's mirroring; SAM pipelines don't mirror."""
        return 1 if self.kind == "sam" else self.planned.mirrored


def nnunet_network(planned: Planned) -> nn.Module:
    """Return the network that the plan names, without deep supervision, as nnU-Net builds it for prediction."""
    settings = planned.settings
    return get_network_from_plans(
        settings.network_arch_class_name,
        settings.network_arch_init_kwargs,
        settings.network_arch_init_kwargs_req_import,
        planned.channels,
        planned.heads,
        deep_supervision=False,
    )


def systems_of(planned: Planned, resenc: Planned | None = None, sam: bool = True) -> list[System]:
    """Return the systems of one table; nnU-Net's network comes first, everything else is relative to it."""
    systems = [System("nnU-Net", "nnunet", planned)]
    systems += [System("nnU-Net ResEnc-L", "nnunet", resenc)] if resenc else []
    systems += [System(f"SERNet {preset}", "sernet", planned, preset) for preset in ("light", "paper")]
    if sam:
        systems += [System(f"prompt learner + SAM {size}", "sam", planned, size) for size in SAM_SIZES]
    return systems
