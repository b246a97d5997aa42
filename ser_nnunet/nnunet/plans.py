"""One configuration of a plan: patch, channels, heads, volume, and nnU-Net's sliding window over it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from nnunetv2.inference.sliding_window_prediction import compute_steps_for_sliding_window
from nnunetv2.utilities.label_handling.label_handling import LabelManager, determine_num_input_channels
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager

from ser_nnunet.errors import UserError
from ser_nnunet.utils.files import read_json

TILE_STEP_SIZE = 0.5  # nnU-Net's default: neighbouring tiles overlap by half


def count_prompts(labels: LabelManager) -> int:
    """Return P: one prompt per region, or per foreground class."""
    return len(labels.foreground_regions if labels.has_regions else labels.foreground_labels)


@dataclass(frozen=True)
class PlannedConfiguration:
    """One configuration of an nnU-Net plan for one data set; all shapes in nnU-Net's (transposed) order of axes.

    Attributes:
        plans: the content of a plans file.
        configuration: such as `2d`.
        dataset_json: the data set's, for channels and labels.
        shape: slices, rows, columns of a volume after resampling; None takes the data set's median.
    """

    plans: dict[str, Any]
    configuration: str
    dataset_json: dict[str, Any]
    shape: tuple[int, int, int] | None = None

    @cached_property
    def plans_manager(self) -> PlansManager:
        """nnU-Net's view of the plans."""
        return PlansManager(self.plans)

    @cached_property
    def configuration_manager(self) -> ConfigurationManager:
        """nnU-Net's view of the configuration."""
        return cast(ConfigurationManager, self.plans_manager.get_configuration(self.configuration))

    @cached_property
    def label_manager(self) -> LabelManager:
        """nnU-Net's view of the labels."""
        return self.plans_manager.get_label_manager(self.dataset_json)

    @property
    def patch_size(self) -> tuple[int, ...]:
        """The patch in pixels or voxels; two edges in 2D."""
        return tuple(int(edge) for edge in self.configuration_manager.patch_size)

    @property
    def channels(self) -> int:
        """Image channels."""
        return int(determine_num_input_channels(self.plans_manager, self.configuration_manager, self.dataset_json))

    @property
    def heads(self) -> int:
        """Logits per voxel: nnU-Net's segmentation heads."""
        return int(self.label_manager.num_segmentation_heads)

    @property
    def prompts(self) -> int:
        """One per foreground class or region."""
        return count_prompts(self.label_manager)

    @property
    def strides(self) -> list[list[int]]:
        """The plan's strides; empty where its network has none."""
        return [list(stride) for stride in self.configuration_manager.network_arch_init_kwargs.get("strides", [])]

    @property
    def kernel_sizes(self) -> list[list[int]]:
        """The plan's convolution kernels, one per stride; empty where its network has none."""
        return [list(kernel) for kernel in self.configuration_manager.network_arch_init_kwargs.get("kernel_sizes", [])]

    @property
    def volume(self) -> tuple[int, ...]:
        """The volume that a prediction is counted for: the given one, or the data set's median after resampling."""
        if self.shape is not None:
            return self.shape
        median = [math.ceil(edge) for edge in self.configuration_manager.median_image_size_in_voxels]
        if len(median) == 2:  # 2D plans leave the first axis as it is
            median = [int(self.plans["original_median_shape_after_transp"][0]), *median]
        return tuple(median)

    @property
    def tiles(self) -> int:
        """How often nnU-Net's sliding window calls the network for the volume, without mirroring."""
        return count_tiles(self.volume, self.patch_size)

    @property
    def mirrorings(self) -> int:
        """By how much mirroring along every axis of the patch multiplies the calls: 4 in 2D, 8 in 3D."""
        return int(2 ** len(self.patch_size))


def count_tiles(volume: Sequence[int], patch: Sequence[int]) -> int:
    """Return the number of tiles; volumes smaller than the patch are padded, 2D patches take slice by slice."""
    slices = math.prod(volume[: len(volume) - len(patch)])
    image = tuple(max(edge, tile) for edge, tile in zip(volume[len(volume) - len(patch) :], patch, strict=True))
    steps = compute_steps_for_sliding_window(image, tuple(patch), TILE_STEP_SIZE)
    return slices * math.prod(len(along_axis) for along_axis in steps)


def read_configuration(
    plans_file: Path, configuration: str, dataset_json: Path | None, shape: tuple[int, int, int] | None
) -> PlannedConfiguration:
    """Read a plans file and the dataset.json beside it (or a named one).

    Raises:
        UserError: a file is missing or is none of nnU-Net's, or the plan lacks the configuration.
    """
    beside = dataset_json or plans_file.parent / "dataset.json"
    plans = _read_object(plans_file, "configurations", "an nnU-Net plans file")
    content = _read_object(beside, "labels", "the data set's dataset.json (name it with --dataset-json)")
    if configuration not in plans["configurations"]:
        known = ", ".join(plans["configurations"]) or "none"
        raise UserError(f"{plans_file} has no configuration {configuration}: it has {known}; plan it first")
    return PlannedConfiguration(plans, configuration, content, shape)


def _read_object(file: Path, key: str, what: str) -> dict[str, Any]:
    try:
        content = read_json(file)
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: {what} expected, and it can't be read ({error})") from error
    if not isinstance(content, dict) or key not in content:
        raise UserError(f"{file}: {what} expected, but it has no entry '{key}'")
    return content
