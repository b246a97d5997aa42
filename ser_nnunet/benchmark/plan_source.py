"""The plan that a benchmark of size or speed measures, and those of nnU-Net's residual networks for the same data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ser_nnunet.benchmark.benchmark_settings import HypotheticalDataset, PlanSettings
from ser_nnunet.benchmark.hypothetical_dataset import plan_hypothetical_dataset
from ser_nnunet.errors import UserError
from ser_nnunet.nnunet.paths import preprocessed_dataset
from ser_nnunet.nnunet.plans import PlannedConfiguration, read_configuration

RESENC = {"ResEnc-M": "nnUNetResEncUNetMPlans", "ResEnc-L": "nnUNetResEncUNetLPlans"}


def load_plans(settings: PlanSettings) -> tuple[PlannedConfiguration, dict[str, PlannedConfiguration]]:
    """Return the chosen plan, and those of nnU-Net's residual networks of the same data, where there are any.

    Raises:
        UserError: no such data set, file or configuration.
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
    return own, {
        name: read_configuration(resenc, configuration, settings.dataset_json, volume)
        for name, resenc in files.items()
        if resenc != file and resenc.is_file()
    }
