"""The recipe of a model, from nnU-Net's plans and dataset.json; what the runtime can't do is refused with a reason."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nnunetv2.preprocessing.resampling.utils import recursive_find_resampling_fn_by_name

from ser_nnunet.errors import UserError
from ser_nnunet.nnunet.channels import list_channels
from ser_nnunet.nnunet.plans import PlannedConfiguration
from ser_nnunet.runtime.normalization import SCHEMES
from ser_nnunet.runtime.recipe import Normalization, Recipe, Resampling

READERS: dict[str, dict[str, Any]] = {
    "SimpleITKIO": {},
    "NibabelIO": {},  # the same order of axes as SimpleITKIO, by nnU-Net's transposition
    "SimpleITKIOWithReorient": {"reorient": "RAS"},
    "NibabelIOWithReorient": {"reorient": "RAS"},
    "NaturalImage2DIO": {"pictures": True},
}
"""nnU-Net's readers that the runtime replaces, and what they do besides reading."""

INTENSITIES = ("mean", "std", "percentile_00_5", "percentile_99_5")


def make_recipe(
    planned: PlannedConfiguration,
    mirror_axes: Sequence[int] | None,
    fingerprint: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Recipe:
    """Return the recipe of a configuration.

    Args:
        planned: plans, configuration and dataset.json of the model folder.
        mirror_axes: the checkpoint's `inference_allowed_mirroring_axes`.
        fingerprint: dataset_fingerprint.json, for the range of the training's spacings.
        provenance: stored as it is.

    Raises:
        UserError: everything about the plans that the runtime can't reproduce.
    """
    problems = unsupported(planned)
    if problems:
        raise UserError("\n".join(problems))
    manager, labels = planned.configuration_manager, planned.label_manager
    order = planned.plans_manager.transpose_forward
    intensities = planned.plans_manager.foreground_intensity_properties_per_channel
    normalization = tuple(
        Normalization(scheme, bool(mask), {key: float(intensities[str(index)][key]) for key in INTENSITIES})
        for index, (scheme, mask) in enumerate(
            zip(manager.normalization_schemes, manager.use_mask_for_norm, strict=True)
        )
    )
    spacings = list(zip(*(fingerprint or {}).get("spacings", []), strict=True))
    trained_on = {"spacing": [[min(spacings[axis]), max(spacings[axis])] for axis in order]} if spacings else {}
    return Recipe(
        configuration=planned.configuration,
        channels=tuple(list_channels(planned.dataset_json)),
        transpose_forward=tuple(map(int, order)),
        spacing=tuple(map(float, manager.spacing)),
        patch_size=planned.patch_size,
        normalization=normalization,
        resampling_data=_resampling(manager.configuration, "resampling_fn_data"),
        resampling_logits=_resampling(manager.configuration, "resampling_fn_probabilities"),
        mirror_axes=tuple(map(int, mirror_axes or ())),
        labels=planned.dataset_json["labels"],
        regions_class_order=tuple(map(int, labels.regions_class_order or ())) if labels.has_regions else None,
        heads=planned.heads,
        file_ending=str(planned.dataset_json["file_ending"]),
        trained_on=trained_on,
        provenance=dict(provenance or {}),
        **READERS[planned.plans_manager.plans["image_reader_writer"]],
    )


def unsupported(planned: PlannedConfiguration) -> list[str]:
    """Return a sentence for everything in the plans that the runtime can't reproduce."""
    configuration = planned.configuration_manager.configuration
    plans = planned.plans_manager.plans
    problems = []
    if configuration.get("previous_stage") is not None:
        problems.append(
            f"{planned.configuration} is a cascade's stage, which needs the masks of {configuration['previous_stage']} "
            "as input: export 3d_fullres or 3d_lowres"
        )
    expected = {
        "preprocessor_name": (configuration.get("preprocessor_name"), ["DefaultPreprocessor"]),
        "label_manager": (plans.get("label_manager", "LabelManager"), ["LabelManager"]),
        "image_reader_writer": (plans.get("image_reader_writer"), list(READERS)),
    }
    problems += [
        f"{name} {found}: only {', '.join(known)} can be exported"
        for name, (found, known) in expected.items()
        if found not in known
    ]
    problems += [
        f"normalisation {scheme}: only nnU-Net's own can be exported ({', '.join(SCHEMES)})"
        for scheme in dict.fromkeys(configuration["normalization_schemes"])
        if scheme not in SCHEMES
    ]
    for key in ("resampling_fn_data", "resampling_fn_probabilities"):
        try:
            _resampling(configuration, key)
        except UserError as error:
            problems.append(str(error))
    if configuration["resampling_fn_probabilities"] == "no_resampling_hack" != configuration["resampling_fn_data"]:
        problems.append("images are resampled but logits are not: masks would not fit the images")
    return problems


def _spline(key: str, settings: Mapping[str, Any]) -> Resampling:
    if settings["is_seg"]:
        raise UserError(f"{key}: is_seg is set, which resamples labels instead of intensities or logits")
    return Resampling(
        order=int(settings["order"]),
        order_z=int(settings["order_z"]),
        force_separate_z=settings["force_separate_z"],
        anisotropy_threshold=float(settings["separate_z_anisotropy_threshold"]),
    )


def _torch(key: str, settings: Mapping[str, Any]) -> Resampling:
    modes = (settings["is_seg"], settings["mode"], settings["aniso_axis_mode"])
    if modes != (False, "linear", "nearest-exact"):
        raise UserError(
            f"{key}: resample_torch_fornnunet with is_seg {modes[0]}, mode {modes[1]}, aniso_axis_mode {modes[2]}: "
            "only images or logits (False), linear and nearest-exact can be exported"
        )
    threshold = float(settings["separate_z_anisotropy_threshold"])
    return Resampling(1, 0, settings["force_separate_z"], threshold, keeps_precision=False)


RESAMPLING: dict[str, Callable[[str, Mapping[str, Any]], Resampling]] = {
    "resample_data_or_seg_to_shape": _spline,
    "resample_torch_fornnunet": _torch,
    "no_resampling_hack": lambda key, settings: Resampling(0, off=True),
}
"""nnU-Net's resampling functions that the runtime reproduces."""


def _resampling(configuration: Mapping[str, Any], key: str) -> Resampling:
    name = configuration[key]
    if name not in RESAMPLING:
        raise UserError(f"{key} {name}: only {', '.join(RESAMPLING)} can be exported")
    defaults = {
        each.name: each.default
        for each in inspect.signature(recursive_find_resampling_fn_by_name(name)).parameters.values()
    }
    return RESAMPLING[name](key, {**defaults, **configuration[f"{key}_kwargs"]})
