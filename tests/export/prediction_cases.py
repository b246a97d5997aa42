"""Images of cases for the exported models of these tests, and the command that predicts them."""

import SimpleITK as sitk

from ser_nnunet.cli import main
from tests.runtime.toy import volume

SPACING = (1.0, 1.0, 3.0)


def image(seed=0, channel=0, spacing=SPACING, **settings):
    result = sitk.GetImageFromArray(volume(channels=2, seed=seed, **settings)[channel])
    result.SetSpacing(spacing)
    result.SetOrigin((5, -7, 9))
    return result


def write_case(folder, name, seed=0, ending=".nii.gz", **settings):
    folder.mkdir(exist_ok=True)
    for channel in range(2):
        sitk.WriteImage(image(seed, channel, **settings), str(folder / f"{name}_{channel:04d}{ending}"))


def predict(model, images, output, *options):
    return main(["predict", "-m", str(model), "-i", str(images), "-o", str(output), *options])


def interrupt(*arguments):
    raise KeyboardInterrupt
