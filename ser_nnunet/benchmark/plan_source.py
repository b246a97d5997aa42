"""The plan that a benchmark of size or speed measures, and nnU-Net ResEnc-L's plan of the same data."""

from __future__ import annotations

from pathlib import Path

from ser_nnunet.benchmark.benchmark_settings import HypotheticalDataset, PlanSettings
from ser_nnunet.benchmark.hypothetical_dataset import plan_hypothetical_dataset
from ser_nnunet.errors import UserError
from ser_nnunet.nnunet.paths import preprocessed_dataset
from ser_nnunet.nnunet.plans import PlannedConfiguration, read_configuration

RESENC_L = "nnUNetResEncUNetLPlans"


def load_plans(settings: PlanSettings) -> tuple[PlannedConfiguration, PlannedConfiguration | None]:
    """Return the chosen plan, and ResEnc-L's of the same data if there is one.

    Raises:
        UserError: no such data set, file or configuration.
    """
    source, configuration, volume = settings.source, settings.configuration, settings.volume
    if isinstance(source, HypotheticalDataset):
        plans = plan_hypothetical_dataset(source)
        if configuration not in plans.default["configurations"]:
            known = ", ".join(plans.default["configurations"])
            raise UserError(f"nnU-Net plans no configuration {configuration} for this shape: choose one of {known}")
        own, resenc = (
            PlannedConfiguration(each, configuration, plans.dataset_json, volume)
            for each in (plans.default, plans.resenc)
        )
        return own, resenc
    file = source if isinstance(source, Path) else preprocessed_dataset(source) / f"{settings.plans_name}.json"
    own = read_configuration(file, configuration, settings.dataset_json, volume)
    resenc_file = file.parent / f"{RESENC_L}.json"
    if file == resenc_file or not resenc_file.is_file():
        return own, None
    return own, read_configuration(resenc_file, configuration, settings.dataset_json, volume)
