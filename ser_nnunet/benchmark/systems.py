"""The systems that are compared: nnU-Net's network, SERNet, and pipelines that keep SAM for prediction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from torch import nn

from ser_nnunet.network.ser_net import SERNet
from ser_nnunet.nnunet.plans import PlannedConfiguration
from ser_nnunet.sam.architecture import SamArchitecture, build
from ser_nnunet.sam.guide import SAMGuide

if TYPE_CHECKING:
    from segment_anything.modeling import Sam

PROMPT_LEARNER_SIZE = 512  # pixels of a slice at the input of the paper's prompt learner
SAM_ARCHITECTURES = {  # embedding width, depth, heads, blocks with global attention (segment_anything.build_sam)
    "ViT-B": (768, 12, 12, (2, 5, 8, 11)),
    "ViT-L": (1024, 24, 16, (5, 11, 17, 23)),
    "ViT-H": (1280, 32, 16, (7, 15, 23, 31)),
}


def make_sam_architecture(size: str, image_size: int = 1024) -> SamArchitecture:
    """Return the sizes of the published `ViT-B`, `ViT-L` or `ViT-H`, at another image size if need be."""
    embed_dim, depth, heads, global_blocks = SAM_ARCHITECTURES[size]
    return SamArchitecture(
        embed_dim=embed_dim, depth=depth, num_heads=heads, global_blocks=global_blocks, image_size=image_size
    )


class SAMPipeline(nn.Module):
    """The paper's prompt learner with SAM kept for prediction, as AutoSAM does: one whole axial slice per call.

    Shape:
        input `(B, C, 512, 512)`; output mask logits `(B, P, 512, 512)`. SAM gets the slice at its own image size.
    """

    def __init__(self, channels: int, prompts: int, sam: Sam) -> None:
        super().__init__()
        size = (PROMPT_LEARNER_SIZE, PROMPT_LEARNER_SIZE)
        self.prompt_learner = SERNet(channels, prompts + 1, size, num_prompts=prompts, preset="paper").prompt_learner
        self.prompts = prompts
        self.sam = sam

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return the mask logits of SAM with the prompt learner's prompt."""
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
    planned: PlannedConfiguration
    variant: str = ""

    def build(self) -> nn.Module:
        """Return the network in eval mode; under `torch.device("meta")` it takes no memory."""
        planned = self.planned
        network: nn.Module
        if self.kind == "nnunet":
            network = build_nnunet_network(planned)
        elif self.kind == "sernet":
            shape = planned.channels, planned.heads, planned.patch_size, planned.strides, planned.prompts
            network = SERNet(*shape, preset=self.variant, kernel_sizes=planned.kernel_sizes)
        else:
            network = SAMPipeline(planned.channels, planned.prompts, build(make_sam_architecture(self.variant)))
        return network.eval()

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The input of one call of the network, batch included."""
        size = (PROMPT_LEARNER_SIZE, PROMPT_LEARNER_SIZE) if self.kind == "sam" else self.planned.patch_size
        return 1, self.planned.channels, *size

    @property
    def calls(self) -> int:
        """Calls of the network per volume: tiles, or whole slices for SAM."""
        return self.planned.volume[0] if self.kind == "sam" else self.planned.tiles

    @property
    def mirrorings(self) -> int:
        """Multiplier of the calls with nnU-Net's mirroring; SAM pipelines don't mirror."""
        return 1 if self.kind == "sam" else self.planned.mirrorings


def build_nnunet_network(planned: PlannedConfiguration) -> nn.Module:
    """Return the network that the plan names, without deep supervision, as nnU-Net builds it for prediction."""
    configuration = planned.configuration_manager
    return get_network_from_plans(
        configuration.network_arch_class_name,
        configuration.network_arch_init_kwargs,
        configuration.network_arch_init_kwargs_req_import,
        planned.channels,
        planned.heads,
        deep_supervision=False,
    )


def list_systems(
    planned: PlannedConfiguration, resenc: Mapping[str, PlannedConfiguration] | None = None, sam: bool = True
) -> list[System]:
    """Return the systems of one table; nnU-Net's network comes first, all others are relative to it.

    Args:
        planned: the plan that sizes nnU-Net's network and SERNet.
        resenc: plans of nnU-Net's residual networks for the same data, by their names.
        sam: whether pipelines that keep SAM for prediction are listed.
    """
    systems = [System("nnU-Net", "nnunet", planned)]
    systems += [System(f"nnU-Net {name}", "nnunet", plan) for name, plan in (resenc or {}).items()]
    presets = ("light", "paper") if len(planned.patch_size) == 2 else ("light",)  # the reference is 2D
    systems += [System(f"SERNet {preset}", "sernet", planned, preset) for preset in presets]
    if sam:
        systems += [System(f"prompt learner + SAM {size}", "sam", planned, size) for size in SAM_ARCHITECTURES]
    return systems
