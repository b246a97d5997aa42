"""What SAM sees of a patch: tissue in grey, black where nnU-Net's zeros aren't tissue."""

import numpy as np
import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from ser_nnunet.sam.picture import to_rgb


def test_rgb_is_robust_and_spans_0_to_255():
    patch = torch.zeros(1, 2, 20, 20)
    patch[0, 0] = torch.linspace(-3, 3, 400).reshape(20, 20)
    patch[0, 0, 0, 0] = 1e4  # one bright voxel must not change the contrast of the rest
    rgb = to_rgb(patch, (0,))
    assert rgb.shape == (1, 3, 20, 20) and rgb.min() == 0 and rgb.max() == 255
    assert rgb[0, 0].median() == pytest.approx(127.5, abs=3)
    assert (rgb[0, 0] == rgb[0, 1]).all() and (rgb[0, 0] == rgb[0, 2]).all()
    assert (to_rgb(patch, (1,)) == 0).all(), "a constant channel is black, not NaN"


def test_two_channels_are_refused():
    with pytest.raises(ValueError, match="one channel or three"):
        to_rgb(torch.zeros(1, 3, 8, 8), (0, 1))


def window(tissue):
    """Intensities of tissue alone, from their own 0.5 % to their 99.5 % quantile as 0 to 255."""
    low, high = torch.quantile(tissue, torch.tensor([0.005, 0.995]))
    return ((tissue - low) / (high - low)).clamp(0, 1) * 255


def head(background=0.0):
    """A slice `(1, 1, 32, 32)` with tissue from -2 to 2 in a square of 16 x 16, and where the tissue is."""
    tissue = torch.zeros(32, 32, dtype=torch.bool)
    tissue[8:24, 8:24] = True
    patch = torch.full((1, 1, 32, 32), background)
    patch[0, 0, tissue] = torch.linspace(-2, 2, 256)
    return patch, tissue


def head_in_a_frame():
    """The same with tissue at all four edges: no edge of a single value shows the padding."""
    patch, tissue = head()
    for line in ((..., 0), (..., -1), (..., 0, slice(None)), (..., -1, slice(None))):
        patch[line], tissue[line] = torch.linspace(-1, 1, 32), True
    return patch, tissue


def test_outside_of_the_nonzero_mask_is_black_and_doesnt_count_for_the_contrast():
    patch, tissue = head_in_a_frame()
    picture = to_rgb(patch, (0,), (0,))[0, 0]
    assert (picture[~tissue] == 0).all()
    torch.testing.assert_close(picture[tissue], window(patch[0, 0, tissue]))
    assert to_rgb(patch, (0,))[0, 0, 2, 2] > 100, "0 is tissue where nnU-Net used no mask"


def test_each_channel_has_its_own_mask_setting():
    patch = head_in_a_frame()[0].repeat(1, 3, 1, 1)
    corner = to_rgb(patch, (2, 0, 1), masked_channels=(1, 2))[0, :, 4, 4]
    assert corner[0] == 0 and corner[1] > 100 and corner[2] == 0


def test_a_slice_without_image_is_black():
    patch = torch.cat([torch.zeros(1, 1, 8, 8), torch.randn(1, 1, 8, 8)])
    picture = to_rgb(patch, (0,), (0,))
    assert (picture[0] == 0).all() and picture[1].max() == 255


@pytest.mark.parametrize("edge", [(slice(0, 5),), (slice(-5, None),), (..., slice(0, 5)), (..., slice(-5, None))])
@pytest.mark.parametrize("value", [0.0, 0.31])  # 0.31: as augmentation of gamma or contrast leaves it
def test_padding_at_any_edge_is_black_and_doesnt_count_for_the_contrast(edge, value):
    patch = torch.randn(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    padding = torch.zeros(32, 32, dtype=torch.bool)
    padding[edge] = True
    patch[0, 0, padding] = value
    picture = to_rgb(patch, (0,))[0, 0]
    assert (picture[padding] == 0).all()
    torch.testing.assert_close(picture[~padding], window(patch[0, 0, ~padding]))


def test_white_margins_stay_white():
    patch, _ = head(background=2.0)
    assert to_rgb(patch, (0,))[0, 0, 0, 0] == 255


def test_nnunets_augmentation_leaves_exactly_the_outside_of_the_mask_at_0():
    """In the channels that the plan names, whatever it does to the image; nothing else becomes black."""
    torch.manual_seed(0)
    np.random.seed(0)
    transforms = nnUNetTrainer.get_training_transforms(
        (32, 24), (-np.pi, np.pi), None, (0, 1), False, use_mask_for_norm=[False, True]
    )
    image, mask = torch.randn(2, 48, 48), torch.full((1, 48, 48), -1, dtype=torch.int16)
    mask[0, 14:40, 16:36] = 1
    image[1] *= mask[0] > 0
    for _ in range(40):
        batch = transforms(image=image.clone(), segmentation=mask.clone())
        outside = batch["segmentation"][0] == 0  # nnU-Net has replaced -1 by 0
        picture = to_rgb(batch["image"][None], (1,), (1,))[0, 0]
        assert outside.any() and (picture[outside] == 0).all() and (picture[~outside] > 0).float().mean() > 0.95
        assert ((batch["image"][1] == 0) == outside).all()


@pytest.mark.data
def test_a_skull_stripped_brain_lies_on_black(real_data):
    """Its background is 0, the brain's mean, after nnU-Net's normalisation."""
    import SimpleITK
    from nnunetv2.preprocessing.normalization.default_normalization_schemes import ZScoreNormalization

    scan = SimpleITK.ReadImage(str(real_data / "mslesseg" / "train" / "P14" / "T2" / "P14_T2_FLAIR.nii.gz"))
    volume = SimpleITK.GetArrayFromImage(scan)
    brain = volume > 0
    scaled = ZScoreNormalization(use_mask_for_norm=True, intensityproperties={}).run(volume, brain.astype(int) - 1)
    patch, brain = torch.from_numpy(scaled[100, 13:205, 11:171]), torch.from_numpy(brain[100, 13:205, 11:171])
    picture = to_rgb(patch[None, None], (0,), (0,))[0, 0]
    assert brain.sum() > 10000 and (picture[~brain] == 0).all() and 100 < picture[brain].median() < 180
