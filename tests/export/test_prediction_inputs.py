"""Which files `ser-nnunet predict` takes for the channels of one case, and where it doesn't write."""

import pytest

from ser_nnunet.cli import main
from tests.export.prediction_cases import predict, write_case


@pytest.fixture
def images(tmp_path):
    write_case(tmp_path / "in", "first", 1)
    return tmp_path / "in"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["first_0000.nii.gz", "third_0000.nii.gz"], "images of 2 cases given (first_0000.nii.gz, third_0000.nii.gz)"),
        (["first_0001.nii.gz", "first_0000.nii.gz"], "the channels 0000 (MR0), 0001 (MR1) expected in this order"),
        (["first_0001.nii.gz"], "the channels 0000 (MR0), 0001 (MR1) expected in this order"),
        (["first_0000.nii.gz", "first_0000.nii.gz"], "given more than once: first_0000.nii.gz, first_0000.nii.gz"),
    ],
)
def test_files_of_several_cases_or_in_another_order_are_no_case(model_file, images, tmp_path, capsys, given, expected):
    """A shell's `imagesTs/*_0000.nii.gz` would be segmented as one patient."""
    write_case(images, "third", 3)
    files = [str(images / name) for name in given]
    assert main(["predict", "-m", str(model_file), "-i", *files, "-o", str(tmp_path / "out")]) == 2
    assert expected in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_files_with_names_of_ones_own_are_the_channels_in_the_order_given(model_file, images, tmp_path):
    """A number at the end may be the case's."""
    for channel, name in enumerate(("flair_1234.nii.gz", "t1_1234.nii.gz")):
        (images / f"first_{channel:04d}.nii.gz").rename(images / name)
    files = [str(images / name) for name in ("flair_1234.nii.gz", "t1_1234.nii.gz")]
    assert main(["predict", "-m", str(model_file), "-i", *files, "-o", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out/flair_1234.nii.gz").is_file()


def test_masks_are_not_written_into_the_folder_of_the_images(model_file, images, capsys):
    """The next call would take them for images."""
    before = sorted(images.iterdir())
    assert predict(model_file, images, images) == 2
    assert "is the folder of the images" in capsys.readouterr().err
    assert sorted(images.iterdir()) == before


def test_all_files_and_problems_of_a_case_with_a_second_image_are_named(model_file, images, tmp_path, capsys):
    (images / "first_0001.nii.gz").rename(images / "first.nii.gz")
    assert predict(model_file, images, tmp_path / "out") == 1
    shown = capsys.readouterr().err
    assert "several images for one mask: first_0000.nii.gz, first.nii.gz" in shown
    assert "channel 0001 (MR1) is missing" in shown and "a channel number expected in the name" in shown
