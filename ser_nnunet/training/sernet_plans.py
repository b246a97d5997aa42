"""nnU-Net's plans with SERNet as their network."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any, cast

from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager

from ser_nnunet.network.ser_net import architecture
from ser_nnunet.nnunet.plans import count_prompts
from ser_nnunet.utils.files import read_json


def plan_configuration(plans: dict[str, Any], configuration: str) -> ConfigurationManager:
    """Return nnU-Net's view of one configuration of its plans, also of plans as nnU-Net hands them to a trainer."""
    manager = PlansManager({key: value for key, value in plans.items() if key != "continue_training"})
    return cast(ConfigurationManager, manager.get_configuration(configuration))


def format_of_other_folds(fold_folder: Path, configuration: str) -> object:
    """Return the model format of the folds that were trained beside this one; None if there is none.

    Args:
        fold_folder: `.../TRAINER__PLANS__CONFIGURATION/fold_X` of nnUNet_results, which may not exist yet.
        configuration: its name in the plans.json of the folder above.
    """
    plans = fold_folder.parent / "plans.json"
    trained = [file for file in fold_folder.parent.glob("fold_*/checkpoint_*.pth") if file.parent != fold_folder]
    if not trained or not plans.is_file():
        return None
    try:
        settings = plan_configuration(read_json(plans), configuration).network_arch_init_kwargs
    except (KeyError, TypeError, AttributeError, OSError, ValueError):  # of another program
        return None
    return settings.get("model_format")


def name_network(
    plans: dict[str, Any], configuration: str, dataset_json: dict[str, Any], preset: str
) -> dict[str, Any]:
    """Return a copy of `plans` in which `configuration` names SERNet, sized for its patch, strides and labels.

    nnU-Net saves the plans it trained with beside the checkpoints. A model folder therefore says by itself which
    network it holds, and prediction builds it through nnU-Net's own code.
    """
    chosen = plan_configuration(plans, configuration)
    prompts = count_prompts(PlansManager(plans).get_label_manager(dataset_json))
    planned = chosen.network_arch_init_kwargs
    named = deepcopy(plans)
    named["configurations"][configuration]["architecture"] = architecture(
        chosen.patch_size,
        planned.get("strides", []),
        prompts,
        preset,
        planned.get("kernel_sizes", []),
        image_channels=len(chosen.use_mask_for_norm) if chosen.previous_stage_name else None,
    )
    return named
