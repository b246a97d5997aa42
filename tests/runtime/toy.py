"""Plans of a small data set as nnU-Net writes them, the recipe made of them, and images."""

import numpy as np

from ser_nnunet.export.plans_recipe import make_recipe
from ser_nnunet.nnunet.plans import PlannedConfiguration

SPLINE = {"is_seg": False, "order_z": 0, "force_separate_z": None}
CLASSES = {"labels": {"background": 0, "shell": 1, "core": 2}}
REGIONS = {"labels": {"background": 0, "whole": [1, 2], "core": 2}, "regions_class_order": [1, 2]}


def plan(
    patch=(16, 12),
    spacing=(1.0, 1.0),
    transpose=(0, 1, 2),
    schemes=("ZScoreNormalization",),
    masks=(False,),
    labels=CLASSES,
    reader="SimpleITKIO",
    resampling="resample_data_or_seg_to_shape",
    kwargs=SPLINE,
    architecture=None,
    **configuration,
):
    """A plan with one configuration, `2d` or `3d_fullres` by the patch's edges."""
    name = "2d" if len(patch) == 2 else "3d_fullres"
    order = {} if resampling == "resample_torch_fornnunet" else {"order": 3}
    logits = {**kwargs, **({"order": 1} if order else {})}
    content = {
        "dataset_name": "Dataset900_Toy",
        "plans_name": "nnUNetPlans",
        "image_reader_writer": reader,
        "transpose_forward": list(transpose),
        "transpose_backward": [list(transpose).index(axis) for axis in range(3)],
        "original_median_spacing_after_transp": [1.0, 1.0, 1.0],
        "original_median_shape_after_transp": [8, 16, 12],
        "foreground_intensity_properties_per_channel": {
            str(index): {
                "mean": 90.0,
                "std": 20.0,
                "percentile_00_5": 40.0,
                "percentile_99_5": 150.0,
            }
            for index in range(len(schemes))
        },
        "configurations": {
            name: {
                "patch_size": list(patch),
                "spacing": list(spacing),
                "batch_size": 2,
                "preprocessor_name": "DefaultPreprocessor",
                "normalization_schemes": list(schemes),
                "use_mask_for_norm": list(masks),
                "resampling_fn_data": resampling,
                "resampling_fn_seg": "resample_data_or_seg_to_shape",
                "resampling_fn_probabilities": resampling,
                "resampling_fn_data_kwargs": {**kwargs, **order},
                "resampling_fn_seg_kwargs": {**SPLINE, "is_seg": True, "order": 1},
                "resampling_fn_probabilities_kwargs": logits,
                "architecture": architecture or {"arch_kwargs": {}},
                **configuration,
            }
        },
    }
    dataset = {
        "channel_names": {str(index): f"MR{index}" for index in range(len(schemes))},
        "numTraining": 5,
        "file_ending": ".nii.gz",
        "licence": "CC BY 4.0",
        **labels,
    }
    return PlannedConfiguration(content, name, dataset)


def recipe(planned=None, mirror_axes=(0, 1), **settings):
    return make_recipe(planned or plan(**settings), mirror_axes)


def volume(shape=(9, 22, 18), channels=1, border=2, seed=0):
    """`(C, z, y, x)`: smooth structures of 40 to 150 in a border of zeros."""
    rng = np.random.default_rng(seed)
    grids = np.meshgrid(*(np.linspace(0, 3, edge) for edge in shape), indexing="ij")
    image = np.zeros((channels, *shape), np.float32)
    inner = tuple(slice(border, edge - border) for edge in shape) if border else (...,)
    for index in range(channels):
        phase = rng.uniform(0, 6, 3)
        waves = sum(np.sin((axis + 1) * grid + phase[axis]) for axis, grid in enumerate(grids))
        image[index][inner] = (95 + 15 * waves + rng.normal(0, 2, shape))[inner]
    return image
