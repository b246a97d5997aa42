"""A data set of five tiny cases, planned by hand and preprocessed by nnU-Net, for the benchmark's tests."""

import json

import numpy as np
import pytest
import SimpleITK as sitk

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
    """A 2D plan with a U-Net of three stages and four to eight features."""
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


@pytest.fixture(scope="session")
def preprocessed(tmp_path_factory):
    """nnUNet_preprocessed with one data set: a bright square of another place in every case."""
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    root = tmp_path_factory.mktemp("preprocessed")
    folder, data = root / NAME, root / NAME / "nnUNetPlans_2d"
    for part in (data, folder / "gt_segmentations", folder / "images"):
        part.mkdir(parents=True)
    manager = PlansManager(tiny_plans())
    for number, case in enumerate(CASES):
        truth = np.zeros((3, 32, 32), np.uint8)
        truth[:, 4 + 3 * number : 12 + 3 * number, 8:16] = 1
        image = truth * 2 + np.random.default_rng(number).normal(5, 0.3, truth.shape).astype(np.float32)
        files = folder / "images" / f"{case}_0000.nii.gz", folder / "gt_segmentations" / f"{case}.nii.gz"
        for array, file in zip((image, truth), files, strict=True):
            sitk.WriteImage(sitk.GetImageFromArray(array), file)
        DefaultPreprocessor(verbose=False).run_case_save(
            str(data / case),
            [str(files[0])],
            str(files[1]),
            manager,
            manager.get_configuration("2d"),
            DATASET_JSON,
        )
    (folder / "nnUNetPlans.json").write_text(json.dumps(tiny_plans()))
    (folder / "dataset.json").write_text(json.dumps(DATASET_JSON))
    (folder / "dataset_fingerprint.json").write_text("{}")
    splits = [{"train": CASES[:4], "val": CASES[4:]}]
    (folder / "splits_final.json").write_text(json.dumps(splits))
    return root
