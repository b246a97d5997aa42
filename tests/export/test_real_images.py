"""Masks of exported models agree with nnU-Net's own prediction on real images of every data set.

The networks learn for some seconds to tell intensities apart: of random weights, the masks would be mostly boundary.
"""

import contextlib
import io
from functools import partial

import numpy as np
import pytest
import SimpleITK as sitk
import torch
import torch.nn.functional as F
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from scipy.ndimage import gaussian_filter

from ser_nnunet.export.exporter import export_model
from ser_nnunet.runtime.case_runs import predict_cases
from ser_nnunet.runtime.image_io import read_image, scan_from_images
from ser_nnunet.runtime.model import Model
from ser_nnunet.runtime.preprocessing import preprocess
from tests.export.model_folders import sernet, unet, write_model_folder
from tests.runtime.toy import REGIONS, plan, recipe

pytestmark = [pytest.mark.data, pytest.mark.slow]

SLICES = 12  # in the middle of the large ones: enough for tiles and resampling, in seconds
IMAGES = {
    "hippocampus": ["hippocampus/imagesTr/hippocampus_004.nii.gz"],
    "prostate": ["promise12/imagesTr/Prostate_Case00_0000.nii.gz"],
    "lesions": ["ms_tabriz/imagesTr/MS_101228_0000.nii.gz"],
    "brain": [f"lesjak/patient19/{channel}.nii.gz" for channel in ("FLAIR", "T1", "T2")],
    "MSLesSeg": ["mslesseg/train/P14/T2/P14_T2_FLAIR.nii.gz"],
    "pancreas": ["nih_pancreas_ct/manifest/Pancreas-CT/PANCREAS_0002/*/*"],
}
THREE = {"schemes": ("ZScoreNormalization",) * 3, "masks": (True,) * 3}
CT = {"schemes": ("CTNormalization",)}
CASES = {
    "hippocampus 2D, two folds": ("hippocampus", {"patch": (56, 40), "architecture": sernet((56, 40))}, (0, 1)),
    "hippocampus 3D": (
        "hippocampus",
        {"patch": (32, 40, 32), "spacing": (1, 1, 1), "architecture": unet(3, 2, 4)},
        (0,),
    ),
    "prostate 2D": ("prostate", {"patch": (96, 96), "spacing": (1.5, 1.5), "architecture": unet(2, 3, 4)}, (0,)),
    "prostate 3D": ("prostate", {"patch": (16, 64, 64), "spacing": (3.5, 2, 2), "architecture": unet(3, 2, 4)}, (0,)),
    "lesions 2D": ("lesions", {"patch": (96, 96), "spacing": (1.3, 1.3), "architecture": sernet((96, 96))}, (0,)),
    "lesions 3D": ("lesions", {"patch": (16, 64, 64), "spacing": (7, 2, 2), "architecture": unet(3, 2, 4)}, (0,)),
    "lesions 3D, SERNet": (
        "lesions",
        {"patch": (16, 64, 64), "spacing": (7, 2, 2), "architecture": sernet((16, 64, 64), thick_slices=True)},
        (0,),
    ),
    "brain 2D": ("brain", {"patch": (96, 96), "architecture": unet(2, 3, 4), **THREE}, (0,)),
    "MSLesSeg 2D regions": ("MSLesSeg", {"patch": (96, 96), "architecture": unet(2, 3, 4), "labels": REGIONS}, (0,)),
    "MSLesSeg 3D": (
        "MSLesSeg",
        {"patch": (16, 64, 64), "spacing": (1.2, 1.2, 1.2), "architecture": unet(3, 2, 4)},
        (0,),
    ),
    "pancreas 2D": ("pancreas", {"patch": (96, 96), "spacing": (2, 2), "architecture": unet(2, 3, 4), **CT}, (0,)),
}


def write_images(data, name, folder):
    """Write the data set's channels as a case, large volumes cut to some slices."""
    folder.mkdir()
    for index, pattern in enumerate(IMAGES[name]):
        image = read_image(next(data.glob(pattern)))
        first = (image.GetSize()[2] - SLICES) // 2
        image = image[:, :, first : first + SLICES] if image.GetSize()[2] > 40 else image
        sitk.WriteImage(image, str(folder / f"case_{index:04d}.nii.gz"))
    return sorted(folder.iterdir())


def teach(network, voxels, patch, regions):
    """Train a network for a few steps to tell three ranges of the first channel's smoothed intensities apart."""
    smooth = gaussian_filter(voxels[0], 1.5)
    labels = np.digitize(smooth, np.quantile(smooth, (0.6, 0.9)))
    rng, optimiser = np.random.default_rng(0), torch.optim.Adam(network.parameters(), 5e-3)
    network.train()
    for _ in range(40):
        tiles, targets = [], []
        for _ in range(2):
            corner = [
                rng.integers(0, max(1, size - edge + 1))
                for size, edge in zip(voxels.shape[-len(patch) :], patch, strict=False)
            ]
            box = tuple(slice(start, start + edge) for start, edge in zip(corner, patch, strict=False))
            plane = () if len(patch) == 3 else (rng.integers(voxels.shape[1]),)
            for found, whole in ((tiles, voxels), (targets, labels[None])):
                tile = whole[(slice(None), *plane, *box)]
                found.append(np.pad(tile, [(0, 0), *((0, e - s) for e, s in zip(patch, tile.shape[1:], strict=False))]))
        output = network(torch.from_numpy(np.stack(tiles)))
        logits = output[0] if isinstance(output, tuple) else output
        target = torch.from_numpy(np.stack(targets)[:, 0])
        if regions:
            loss = F.binary_cross_entropy_with_logits(logits, torch.stack([target >= 1, target == 2], 1).float())
        else:
            loss = F.cross_entropy(logits, target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    network.eval()


def nnunets_mask(folder, images, output, folds, mirror):
    output.mkdir()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        predictor = nnUNetPredictor(use_mirroring=mirror, device=torch.device("cpu"), allow_tqdm=False)
        predictor.initialize_from_trained_model_folder(str(folder), folds, "checkpoint_final.pth")
        predictor.predict_from_files_sequential(str(images), str(output))
    return sitk.ReadImage(output / "case.nii.gz")


def overlap(one, other):
    """Dice of two masks."""
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


@pytest.mark.parametrize("name", CASES)
def test_masks_are_nnunets(real_data, tmp_path, name):
    dataset, settings, folds = CASES[name]
    planned = plan(**{"masks": (False,), **settings})
    files = write_images(real_data, dataset, tmp_path / "images")
    model = recipe(planned)
    scan = scan_from_images([read_image(file) for file in files], list(map(str, files)), model)
    voxels = preprocess(scan, model).voxels
    torch.set_num_threads(1)
    axes = tuple(range(len(model.patch_size)))
    prepare = partial(teach, voxels=voxels, patch=model.patch_size, regions=model.regions_class_order is not None)
    folder = write_model_folder(tmp_path / "model", planned, folds=folds, mirror_axes=axes, prepare=prepare)
    mirror = dataset == "hippocampus"  # eight times the work in 3D
    exported = Model.load(export_model(folder, tmp_path / "model.pyz").path, mirror=mirror, threads=1)
    assert predict_cases(exported, [tmp_path / "images"], tmp_path / "ours").failed == {}
    ours = sitk.ReadImage(tmp_path / "ours" / "case.nii.gz")
    theirs = nnunets_mask(folder, tmp_path / "images", tmp_path / "theirs", folds, mirror)
    assert (ours.GetSize(), ours.GetOrigin(), ours.GetDirection()) == (
        theirs.GetSize(),
        theirs.GetOrigin(),
        theirs.GetDirection(),
    )
    found, expected = sitk.GetArrayFromImage(ours), sitk.GetArrayFromImage(theirs)
    agreement = (found == expected).mean()
    dice = {int(label): overlap(found == label, expected == label) for label in np.unique(expected)}
    print(f"{name}: {agreement:.6f} of the voxels, Dice {dice}, of {expected.size}")
    assert len(dice) > 1, "the network has learnt"
    assert agreement >= 0.9999 and min(dice.values()) > 0.999
