"""The plan that a benchmark of size or speed measures, and those of nnU-Net's residual networks for the same data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ser_nnunet.benchmark.benchmark_settings import HypotheticalDataset, PlanSettings
from ser_nnunet.benchmark.hypothetical_dataset import plan_hypothetical_dataset
from ser_nnunet.errors import UserError
from ser_nnunet.nnunet.paths import preprocessed_dataset
from ser_nnunet.nnunet.plans import PlannedConfiguration, read_configuration

NETWORKS = "dynamic_network_architectures"  # the package of all networks that nnU-Net plans
RESENC = {"ResEnc-M": "nnUNetResEncUNetMPlans", "ResEnc-L": "nnUNetResEncUNetLPlans"}


def load_plans(settings: PlanSettings) -> tuple[PlannedConfiguration, dict[str, PlannedConfiguration]]:
    """Return the chosen plan, and those of nnU-Net's residual networks of the same data, where there are any.

    Raises:
        UserError: no such data set, file or configuration, or a network that isn't nnU-Net's own.
    """
    source, configuration, volume = settings.source, settings.configuration, settings.volume
    if isinstance(source, HypotheticalDataset):
        plans = plan_hypothetical_dataset(source)
        if configuration not in plans.default["configurations"]:
            known = ", ".join(plans.default["configurations"])
            raise UserError(f"nnU-Net plans no configuration {configuration} for this shape: choose one of {known}")
        own = PlannedConfiguration(plans.default, configuration, plans.dataset_json, volume)
        return own, {name: replace(own, plans=each) for name, each in plans.resenc.items()}
    file = source if isinstance(source, Path) else preprocessed_dataset(source) / f"{settings.plans_name}.json"
    own = read_configuration(file, configuration, settings.dataset_json, volume)
    files = {name: file.parent / f"{plans}.json" for name, plans in RESENC.items()}
    found = {
        name: read_configuration(resenc, configuration, settings.dataset_json, volume)
        for name, resenc in files.items()
        if resenc != file and resenc.is_file()
    }
    refuse_other_networks({file: own} | {files[name]: each for name, each in found.items()})
    return own, found


def refuse_other_networks(plans: Mapping[Path, PlannedConfiguration]) -> None:
    """Refuse plans whose network would be measured under nnU-Net's name and isn't nnU-Net's own.

    A trainer with a network of its own, such as SERTrainer, writes it into the plans.json of its model folder.

    Args:
        plans: by the file that they were read from.

    Raises:
        UserError: with all of these files, what they name, and which plans to give instead.
    """
    problems = []
    for file, planned in plans.items():
        network = planned.configuration_manager.network_arch_class_name
        if network.partition(".")[0] != NETWORKS:
            place = f"nnUNet_preprocessed/{planned.plans['dataset_name']}/{planned.plans['plans_name']}.json"
            problems.append(f"{file}, {planned.configuration}: network {network}; plan of the data set: {place}")
    if problems:
        listed = "\n".join(f"  {problem}" for problem in problems)
        raise UserError(
            f"a plan with nnU-Net's own network ({NETWORKS}) expected, which is what is compared with SERNet, but "
            f"found\n{listed}\nA trained model's plans.json names the network that was trained. Give the plans that "
            "nnU-Net made for the data set, in nnUNet_preprocessed: by -d ID, or the file after -plans"
        )
