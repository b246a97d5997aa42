"""plans.json and dataset.json of a trained model, compared with what nnU-Net writes before they are used."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, cast

from nnunetv2.utilities.label_handling.label_handling import LabelManager
from pydantic import Field, FiniteFloat, PositiveInt, StringConstraints, model_validator

from ser_nnunet.errors import UserError
from ser_nnunet.nnunet.plans import PlannedConfiguration
from ser_nnunet.utils.files import read_json
from ser_nnunet.utils.json_files import JsonModel, LabelOrRegion, LabelValue, Name, read_validated, validate

PLANS = "the plans of a model that nnU-Net trained"
DATASET = "the dataset.json of a model that nnU-Net trained"
EARLIER_NETWORK = (
    *("UNet_class_name", "UNet_base_num_features", "unet_max_num_features", "n_conv_per_stage_encoder"),
    *("n_conv_per_stage_decoder", "num_pool_per_axis", "pool_op_kernel_sizes", "conv_kernel_sizes"),
)
"""What nnU-Net's earlier plans have in place of `architecture`; nnU-Net makes one of them."""

Millimetres = Annotated[FiniteFloat, Field(gt=0)]
Numeral = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,4}$")]


class Architecture(JsonModel):
    """The network of a configuration; which of its arguments are needed depends on its class."""

    arch_kwargs: dict[str, Any]


class ModelConfiguration(JsonModel):
    """A configuration with what it inherits: patch, grid, channels and network."""

    patch_size: Annotated[list[PositiveInt], Field(min_length=2, max_length=3)]
    spacing: Annotated[list[Millimetres], Field(min_length=2, max_length=3)]
    normalization_schemes: Annotated[list[str], Field(min_length=1)]
    use_mask_for_norm: Annotated[list[bool], Field(min_length=1)]
    architecture: Architecture | None = None

    @model_validator(mode="after")
    def _need_agreement(self) -> ModelConfiguration:
        problems = []
        if self.architecture is None and set(EARLIER_NETWORK) - set(self.model_extra or {}):
            problems.append("architecture: the network's class and its arguments expected, none found")
        if len(self.spacing) != len(self.patch_size):
            problems.append(f"spacing has {len(self.spacing)} axes, patch_size {len(self.patch_size)}")
        if len(self.normalization_schemes) != len(self.use_mask_for_norm):
            channels = f"{len(self.normalization_schemes)} channels, use_mask_for_norm {len(self.use_mask_for_norm)}"
            problems.append(f"normalization_schemes has {channels}")
        if problems:
            raise ValueError("; ".join(problems))
        return self


class AllPlans(JsonModel):
    """plans.json before one of its configurations is chosen."""

    configurations: Annotated[dict[str, dict[str, Any]], Field(min_length=1)]


class ModelPlans(JsonModel):
    """plans.json with the model's configuration alone."""

    dataset_name: Name
    plans_name: Name
    image_reader_writer: Name
    label_manager: Name = "LabelManager"
    transpose_forward: Annotated[list[int], Field(min_length=3, max_length=3)]
    configurations: Mapping[str, ModelConfiguration]

    @model_validator(mode="after")
    def _need_axes(self) -> ModelPlans:
        if sorted(self.transpose_forward) != [0, 1, 2]:
            raise ValueError("transpose_forward: each of the axes 0, 1, 2 expected once")
        return self


class ModelDataset(JsonModel):
    """dataset.json of a model: channels, named by either entry, and labels that nnU-Net accepts."""

    labels: Annotated[dict[Name, LabelOrRegion], Field(min_length=1)]
    regions_class_order: list[LabelValue] | LabelValue | None = None
    channel_names: Annotated[dict[Numeral, str], Field(min_length=1)] | None = None
    modality: Annotated[dict[Numeral, str], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _need_channels_and_labels(self) -> ModelDataset:
        problems = []
        if self.channel_names is None and self.modality is None:
            problems.append('channel_names: names such as {"0": "T1"} expected, none found')
        try:
            LabelManager(
                dict(self.labels), cast(Any, self.regions_class_order)
            )  # without regions, nnU-Net takes anything
        except (AssertionError, RuntimeError, TypeError, ValueError) as error:
            problems.append(f"labels: {error}")
        if problems:
            raise ValueError("; ".join(problems))
        return self


def read_model_plans(
    folder: Path,
    configuration: str,
    plans: type[ModelPlans] = ModelPlans,
    dataset: type[ModelDataset] = ModelDataset,
) -> PlannedConfiguration:
    """Read plans.json and dataset.json of a trained model.

    Args:
        folder: `TRAINER__PLANS__CONFIGURATION`, as in nnUNet_results.
        configuration: that the checkpoint was trained with, such as `2d`.
        plans: the entries of plans.json that are needed.
        dataset: those of dataset.json.

    Raises:
        UserError: what is missing or malformed in either file, or they are for different numbers of channels.
    """
    plans_file, dataset_file = folder / "plans.json", folder / "dataset.json"
    problems = []
    try:
        channels = count_channels(plans_file, configuration, plans)
    except UserError as error:
        problems.append(str(error))
    try:
        described = read_validated(dataset_file, dataset, DATASET)
        named = len(described.channel_names or described.modality or ())
    except UserError as error:
        problems.append(str(error))
    if not problems and channels != named:
        problems.append(f"{plans_file} normalises {channels} channels, but {dataset_file} names {named}")
    if problems:
        raise UserError("\n".join(problems))
    return PlannedConfiguration(read_json(plans_file), configuration, read_json(dataset_file))


def count_channels(file: Path, configuration: str, expected: type[ModelPlans]) -> int:
    """Check plans.json and one of its configurations; return the number of image channels that it normalises.

    Raises:
        UserError: it lacks the configuration, or what is missing or malformed.
    """
    plans = read_validated(file, AllPlans, PLANS)
    known, entries, inherited = plans.configurations, dict[str, Any](), list[Any]([configuration])
    while (name := inherited[-1]) is not None:
        if not isinstance(name, str) or name not in known or name in inherited[:-1]:
            what = "the model was trained with" if len(inherited) == 1 else f"{inherited[-2]} inherits from"
            raise UserError(f"{file}: the configuration {name} that {what} expected, found are {', '.join(known)}")
        entries = known[name] | entries
        inherited.append(known[name].get("inherits_from"))
    try:
        chosen = validate({**(plans.model_extra or {}), "configurations": {configuration: entries}}, expected)
    except ValueError as error:
        raise UserError(f"{file}: {PLANS} expected, but\n{error}") from None
    return len(chosen.configurations[configuration].normalization_schemes)
