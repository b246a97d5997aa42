"""Small data sets in nnU-Net's raw format: a bright shell around a brighter core in noise."""

import json
from pathlib import Path

import numpy as np

from tests.dataset_conversion.volumes import image_of, save


def volume(seed, shape=(8, 40, 32), radius=11.0, slice_distance=3.0):
    """Return an image `(z, y, x)` and its labels: 0, 1 in the shell, 2 in the core; distances are in pixels."""
    rng = np.random.default_rng(seed)
    z, y, x = np.meshgrid(*(np.arange(edge) for edge in shape), indexing="ij")
    centre = rng.uniform(0.4, 0.6, 3) * (np.array(shape) - 1)
    distance = np.sqrt(((z - centre[0]) * slice_distance) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2)
    label = (distance < radius).astype(np.uint8) + (distance < radius * 0.55)
    return (label * 60 + rng.normal(100, 10, label.shape)).astype(np.float32), label.astype(np.uint8)


def write_raw_dataset(folder: Path, description: dict, cases: dict, test_images: dict, **geometry) -> None:
    """Write training cases (name -> image and labels), test images (name -> image) and dataset.json.

    Args:
        folder: `DatasetXXX_Name`, which is made.
        description: entries of dataset.json beside the channel, the number of cases and the file ending.
        geometry: `spacing`, `origin` and `direction` of all images (tests.dataset_conversion.volumes.image_of).
    """
    for name, (image, label) in cases.items():
        save(image_of(image, **geometry), folder / f"imagesTr/{name}_0000.nii.gz")
        save(image_of(label, **geometry), folder / f"labelsTr/{name}.nii.gz")
    for name, image in test_images.items():
        save(image_of(image, **geometry), folder / f"imagesTs/{name}_0000.nii.gz")
    entries = {"channel_names": {"0": "MRI"}, "numTraining": len(cases), "file_ending": ".nii.gz", **description}
    (folder / "dataset.json").write_text(json.dumps(entries))
