"""A data set of five tiny cases and its plan, for the benchmark's tests."""

import json

from ser_nnunet.nnunet.plans import PlannedConfiguration

NAME = "Dataset001_Tiny"
CASES = [f"case_{number}" for number in range(5)]
DATASET_JSON = {
    "name": NAME,
    "channel_names": {"0": "T1"},
    "labels": {"background": 0, "lesion": 1},
    "numTraining": len(CASES),
    "file_ending": ".nii.gz",
}
RESAMPLING = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}


def tiny_plans(patch=(32, 32), median=(32.0, 32.0), slices=3):
    """Return a 2D plan with a U-Net of three stages and four to eight features."""
    convolution = "torch.nn.modules.conv.Conv2d"
    return {
        "dataset_name": NAME,
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": [1.0, 1.0, 1.0],
        "original_median_shape_after_transp": [slices, *map(int, median)],
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": {}},
        "configurations": {
            "2d": {
                "data_identifier": "nnUNetPlans_2d",
                "preprocessor_name": "DefaultPreprocessor",
                "batch_size": 2,
                "patch_size": list(patch),
                "median_image_size_in_voxels": list(median),
                "spacing": [1.0, 1.0],
                "normalization_schemes": ["ZScoreNormalization"],
                "use_mask_for_norm": [False],
                "resampling_fn_data": "resample_data_or_seg_to_shape",
                "resampling_fn_seg": "resample_data_or_seg_to_shape",
                "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
                "resampling_fn_data_kwargs": RESAMPLING,
                "resampling_fn_seg_kwargs": RESAMPLING | {"is_seg": True},
                "resampling_fn_probabilities_kwargs": RESAMPLING,
                "batch_dice": True,
                "architecture": {
                    "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
                    "arch_kwargs": {
                        "n_stages": 3,
                        "features_per_stage": [4, 8, 8],
                        "conv_op": convolution,
                        "kernel_sizes": [[3, 3]] * 3,
                        "strides": [[1, 1], [2, 2], [2, 2]],
                        "n_conv_per_stage": [1, 1, 1],
                        "n_conv_per_stage_decoder": [1, 1],
                        "conv_bias": True,
                        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm2d",
                        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
                        "dropout_op": None,
                        "dropout_op_kwargs": None,
                        "nonlin": "torch.nn.LeakyReLU",
                        "nonlin_kwargs": {"inplace": True},
                    },
                    "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
                },
            }
        },
    }


def tiny_configuration(plans=None, **dataset_json):
    """Return the 2D configuration of the tiny plan (or another one), with entries of dataset.json replaced."""
    return PlannedConfiguration(plans or tiny_plans(), "2d", DATASET_JSON | dataset_json)


def write_plans(folder):
    """Write the plan and its dataset.json; return the plan's path."""
    (folder / "dataset.json").write_text(json.dumps(DATASET_JSON))
    plans = folder / "nnUNetPlans.json"
    plans.write_text(json.dumps(tiny_plans()))
    return plans


def read_files(folder):
    """Return the content of all files below a folder, to see whether anything is changed."""
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
