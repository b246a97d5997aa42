"""nnU-Net's plans with SERNet as their network, and the configurations that SER's trainers refuse."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from ser_nnunet.network.ser_net import architecture
from ser_nnunet.nnunet.plans import count_prompts


def name_network(
    plans: dict[str, Any], configuration: str, dataset_json: dict[str, Any], preset: str
) -> dict[str, Any]:
    """Return a copy of `plans` in which `configuration` names SERNet, sized for its patch, strides and labels.

    nnU-Net saves the plans it trained with beside the checkpoints. A model folder therefore says by itself which
    network it holds, and prediction builds it through nnU-Net's own code.

    Raises:
        NotImplementedError: 3D configuration or cascade.
    """
    manager = PlansManager({key: value for key, value in plans.items() if key != "continue_training"})
    chosen = manager.get_configuration(configuration)
    refuse_unsupported(configuration, len(chosen.patch_size), chosen.previous_stage_name)
    prompts = count_prompts(manager.get_label_manager(dataset_json))
    strides = chosen.network_arch_init_kwargs.get("strides", [])
    named = deepcopy(plans)
    named["configurations"][configuration]["architecture"] = architecture(chosen.patch_size, strides, prompts, preset)
    return named


def refuse_unsupported(configuration: str, dimension: int, previous_stage: str | None) -> None:
    """Raise NotImplementedError, with what to do instead, for a cascade's stage or a 3D configuration."""
    if previous_stage is not None:
        raise NotImplementedError(
            f"SER's trainers don't support nnU-Net's cascade ({configuration} refines {previous_stage}): "
            "train the configuration 2d with them, or the cascade with nnUNetTrainer"
        )
    if dimension != 2:
        raise NotImplementedError(
            f"SER's trainers support 2D configurations so far, because SAM sees slices ({configuration} has 3D "
            "patches): train the configuration 2d with them, or this one with nnUNetTrainer"
        )
