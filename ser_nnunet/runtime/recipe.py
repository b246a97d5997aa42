"""The recipe of a model: everything of nnU-Net's plans and dataset.json that prediction depends on, as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from ser_nnunet.errors import UserError

FORMAT = 1
"""Version of the recipe's layout; a runtime refuses other versions."""

KINDS: dict[type, tuple[str, ...]] = {
    list: ("channels", "transpose_forward", "spacing", "patch_size", "normalization", "mirror_axes"),
    Mapping: ("resampling_data", "resampling_logits", "labels", "trained_on", "provenance"),
}
"""Kinds of entries that would otherwise be found wrong in the middle of a prediction."""


@dataclass(frozen=True)
class Normalization:
    """One channel's normalisation.

    Attributes:
        scheme: the name of nnU-Net's class, one of `normalization.SCHEMES`.
        use_mask: compute mean and deviation inside the nonzero mask only (ZScoreNormalization).
        intensities: `mean`, `std`, `percentile_00_5`, `percentile_99_5` of the training's foreground, in the images'
            units.
    """

    scheme: str
    use_mask: bool
    intensities: Mapping[str, float]


@dataclass(frozen=True)
class Resampling:
    """How arrays get another grid: nnU-Net's `resample_data_or_seg_to_shape` and `resample_torch_fornnunet`.

    Attributes:
        order: of the spline, 0 to 5, along the axes that aren't resampled separately.
        order_z: of the one that is.
        force_separate_z: always (True), never (False), or (None) where the anisotropy exceeds the threshold.
        anisotropy_threshold: ratio of the largest to the smallest spacing.
        off: nnU-Net's `no_resampling_hack`: images keep their grid.
        keeps_precision: the result is rounded to the precision of what is resampled, as of nnU-Net's float16 logits;
            False is `resample_torch_fornnunet`, which returns float32 and chooses nearest slices as torch does.
    """

    order: int
    order_z: int = 0
    force_separate_z: bool | None = None
    anisotropy_threshold: float = 3.0
    off: bool = False
    keeps_precision: bool = True


@dataclass(frozen=True)
class Recipe:
    """A model's preprocessing, tiles and labels; axes in nnU-Net's order (after `transpose_forward`).

    Attributes:
        configuration: such as `2d`.
        channels: names of the image channels, in their order.
        transpose_forward: array axes `(z, y, x)` to nnU-Net's axes.
        spacing: mm, two numbers in 2D.
        patch_size: voxels of a tile, two numbers in 2D.
        normalization: one per channel.
        resampling_data: of the images.
        resampling_logits: back to their grid.
        mirror_axes: axes of the patch along which mirroring is allowed.
        labels: names and values of classes or regions, as in dataset.json.
        regions_class_order: the label that each region's voxels get; None without regions.
        heads: logits per voxel.
        reorient: orientation that images are brought to first (`RAS`), or None.
        pictures: images are 2D pictures (PNG and the like) without spacing.
        file_ending: of the training's images.
        trained_on: ranges of the training images, for warnings: `spacing` (`[min, max]` per axis).
        provenance: trainer, epochs, versions, data set, validation; for people.
    """

    configuration: str
    channels: tuple[str, ...]
    transpose_forward: tuple[int, ...]
    spacing: tuple[float, ...]
    patch_size: tuple[int, ...]
    normalization: tuple[Normalization, ...]
    resampling_data: Resampling
    resampling_logits: Resampling
    mirror_axes: tuple[int, ...]
    labels: Mapping[str, Any]
    regions_class_order: tuple[int, ...] | None
    heads: int
    file_ending: str
    reorient: str | None = None
    pictures: bool = False
    trained_on: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    format: int = FORMAT

    @property
    def dimension(self) -> int:
        """2 (slice by slice) or 3."""
        return len(self.patch_size)

    @property
    def transpose_backward(self) -> tuple[int, ...]:
        """The inverse of `transpose_forward`."""
        return tuple(self.transpose_forward.index(axis) for axis in range(len(self.transpose_forward)))

    @property
    def largest_label(self) -> int:
        """The largest value that a mask may hold."""
        values = [value for name, value in self.labels.items() if name != "ignore"]
        return max(int(max(value)) if isinstance(value, list | tuple) else int(value) for value in values)

    def full_spacing(self, spacing: tuple[float, ...]) -> tuple[float, ...]:
        """Return the model's spacing in three numbers; in 2D, the distance of an image's slices is kept."""
        return (*spacing[: 3 - self.dimension], *self.spacing)


def read_recipe(content: Mapping[str, Any]) -> Recipe:
    """Return the recipe that `dataclasses.asdict` made JSON of.

    Raises:
        UserError: another format, or entries that are missing or of another kind.
    """
    if content.get("format") != FORMAT:
        raise UserError(
            f"the model's recipe has format {content.get('format')}, this version of the runtime reads {FORMAT}: "
            "run the file itself (python FILE -i IMAGES -o MASKS), which brings its own runtime, or export it again"
        )
    missing = [each.name for each in fields(Recipe) if each.name not in content]
    if missing:
        raise UserError(f"the model's recipe lacks {', '.join(missing)}: export the model again")
    wrong = [name for kind, names in KINDS.items() for name in names if not isinstance(content[name], kind)]
    if wrong:
        raise UserError(f"the model's recipe has another kind of value than expected in {', '.join(wrong)}")
    values: dict[str, Any] = {
        each.name: tuple(content[each.name]) if isinstance(content[each.name], list) else content[each.name]
        for each in fields(Recipe)
    }
    values["normalization"] = tuple(Normalization(**each) for each in content["normalization"])
    for name in ("resampling_data", "resampling_logits"):
        values[name] = Resampling(**content[name])
    return Recipe(**values)
