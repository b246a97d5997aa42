"""The entries of a trained model's JSON files of which a recipe is made, as nnU-Net writes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import AliasChoices, Field, FiniteFloat, model_validator

from ser_nnunet.nnunet.model_plans import Architecture, Millimetres, ModelConfiguration, ModelDataset, ModelPlans
from ser_nnunet.utils.json_files import FileEnding, JsonModel, Name

INTENSITIES = "foreground_intensity_properties_per_channel"


class ResamplingSettings(JsonModel):
    """Arguments of nnU-Net's resampling functions."""

    is_seg: bool = False
    order: Annotated[int, Field(ge=0, le=5)] = 3
    order_z: Annotated[int, Field(ge=0, le=5)] = 0
    force_separate_z: bool | None = None
    separate_z_anisotropy_threshold: FiniteFloat = 3


class ExportedArchitecture(Architecture):
    """A network that nnU-Net can build."""

    network_class_name: Name
    kw_requires_import: Annotated[list[str], Field(alias="_kw_requires_import")]


class ExportedConfiguration(ModelConfiguration):
    """A configuration, its network, and how its images and logits are resampled."""

    architecture: ExportedArchitecture | None = None
    resampling_fn_data: Name
    resampling_fn_probabilities: Name
    resampling_fn_data_kwargs: ResamplingSettings
    resampling_fn_probabilities_kwargs: ResamplingSettings


class Intensities(JsonModel):
    """Of the training's foreground in one channel, in the images' units."""

    mean: float
    std: float
    percentile_00_5: float
    percentile_99_5: float


class ExportedPlans(ModelPlans):
    """plans.json with the model's configuration alone; earlier versions of nnU-Net name the intensities otherwise."""

    configurations: Mapping[str, ExportedConfiguration]
    intensities: Annotated[
        dict[str, Intensities],
        Field(validation_alias=AliasChoices(INTENSITIES, "foreground_intensity_properties_by_modality")),
    ]

    @model_validator(mode="after")
    def _need_every_channel(self) -> ExportedPlans:
        channels = max(len(each.normalization_schemes) for each in self.configurations.values())
        lacking = [str(channel) for channel in range(channels) if str(channel) not in self.intensities]
        if lacking:
            raise ValueError(f"{INTENSITIES}: an entry for each of the channels {', '.join(lacking)} expected")
        return self


class ExportedDataset(ModelDataset):
    """dataset.json, and the file type of the images."""

    file_ending: FileEnding


class Fingerprint(JsonModel):
    """dataset_fingerprint.json: the training images' spacings in mm, in their own order of axes."""

    spacings: list[Annotated[list[int | Millimetres], Field(min_length=3, max_length=3)]] = []
