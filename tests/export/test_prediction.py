"""`ser-nnunet predict` and exported files: many cases, bad inputs, resuming, and Python's interface."""

import json

import numpy as np
import pytest
import SimpleITK as sitk

from ser_nnunet.cli import main
from ser_nnunet.errors import UserError
from ser_nnunet.export.exporter import export_model
from ser_nnunet.runtime.model import Model
from tests.export.model_folders import unet, write_model_folder
from tests.export.prediction_cases import image, interrupt, predict, write_case
from tests.runtime.images import write_dicom_series
from tests.runtime.toy import plan, volume


def test_masks_have_the_images_grid_and_file_type(model_file, images, tmp_path, capsys):
    assert predict(model_file, images, tmp_path / "out") == 0
    assert "2 masks written" in capsys.readouterr().out
    names = sorted(entry.name for entry in (tmp_path / "out").iterdir())
    assert names == ["first.nii.gz", "prediction.json", "second.mha"]
    mask, source = sitk.ReadImage(tmp_path / "out/first.nii.gz"), image()
    assert mask.GetSize() == source.GetSize() and mask.GetOrigin() == source.GetOrigin()
    assert np.allclose(mask.GetSpacing(), source.GetSpacing()) and mask.GetPixelID() == sitk.sitkUInt8
    assert set(np.unique(sitk.GetArrayFromImage(mask))) == {0, 1, 2}
    record = json.loads((tmp_path / "out/prediction.json").read_text())
    assert record["step"] == 0.5 and record["mirror_axes"] == [0, 1]
    assert record["provenance"]["trainer"] == "nnUNetTrainer"


def test_python_predicts_the_same_from_images_and_arrays(model_file, images, tmp_path):
    assert predict(model_file, images, tmp_path / "out", "--tta", "off", "--step", "0.8") == 0
    model = Model.load(model_file, mirror=False, step=0.8)
    written = sitk.ReadImage(tmp_path / "out/first.nii.gz")
    mask = model.predict([image(1, 0), image(1, 1)])
    assert (sitk.GetArrayFromImage(mask) == sitk.GetArrayFromImage(written)).all()
    assert np.allclose(mask.GetOrigin(), written.GetOrigin())
    array = model.predict(volume(channels=2, seed=1), spacing=(3, 1, 1))
    assert (array == sitk.GetArrayFromImage(written)).all()
    with pytest.raises(UserError, match=r"shape \(9, 22, 18\)"):
        model.predict(volume()[0], spacing=(3, 1, 1))


@pytest.mark.parametrize(("options", "same"), [((), True), (("--tta", "off"), False), (("--step", "1"), False)])
def test_a_second_run_skips_masks_of_the_same_model_and_settings_only(
    model_file, images, tmp_path, capsys, options, same
):
    assert predict(model_file, images, tmp_path / "out") == 0
    mask = tmp_path / "out/first.nii.gz"
    mask.write_bytes(b"kept")
    (tmp_path / "out/second.mha").unlink()
    status = predict(model_file, images, tmp_path / "out", *options)
    output = capsys.readouterr()
    if same:
        assert status == 0 and "1 mask written" in output.out and "1 there already" in output.out
        assert predict(model_file, images, tmp_path / "out") == 0
        assert "0 masks written" in capsys.readouterr().out
    else:
        assert status == 2 and "masks of another model or of other settings (first.nii.gz)" in output.err
    assert mask.read_bytes() == b"kept"
    assert predict(model_file, images, tmp_path / "out", *options, "--overwrite") == 0
    assert mask.read_bytes() != b"kept"


def test_masks_of_other_cases_are_not_taken_for_the_models(model_file, images, tmp_path, capsys):
    """Neither by a run of other cases, nor by overwriting: only complete sets of masks change their settings."""
    write_case(tmp_path / "other", "third", 3)
    assert predict(model_file, images, tmp_path / "out", "--tta", "off") == 0
    for options in ((), ("--overwrite",)):
        assert predict(model_file, tmp_path / "other", tmp_path / "out", *options) == 2
        assert "(first.nii.gz, second.mha): choose another folder" in capsys.readouterr().err
    assert predict(model_file, tmp_path / "other", tmp_path / "out", "--tta", "off") == 0


def test_a_model_folder_predicts_as_its_file_does(model_folder, model_file, images, tmp_path):
    assert predict(model_folder, images, tmp_path / "folder") == predict(model_file, images, tmp_path / "file") == 0
    one, other = (sitk.ReadImage(tmp_path / each / "first.nii.gz") for each in ("folder", "file"))
    assert (sitk.GetArrayFromImage(one) == sitk.GetArrayFromImage(other)).all()


def test_channels_of_one_case_can_be_named(model_file, images, tmp_path):
    files = [str(images / f"first_{channel:04d}.nii.gz") for channel in range(2)]
    assert main(["predict", "-m", str(model_file), "-i", *files, "-o", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out/first.nii.gz").is_file()


def test_a_case_with_too_few_channels_is_named(model_file, images, tmp_path, capsys):
    assert predict(model_file, images / "first_0000.nii.gz", tmp_path / "out") == 1
    assert "first: 1 channels found, expected 2: MR0, MR1" in capsys.readouterr().err


@pytest.fixture(scope="module")
def single_channel(tmp_path_factory):
    folder = write_model_folder(tmp_path_factory.mktemp("single") / "model", plan((16, 12), architecture=unet(2, 2, 4)))
    return export_model(folder, folder.parent / "model.pyz").path


def test_images_are_never_replaced_by_masks(single_channel, tmp_path, capsys):
    sitk.WriteImage(image(), str(tmp_path / "plain.nii.gz"))
    before = (tmp_path / "plain.nii.gz").read_bytes()
    assert predict(single_channel, tmp_path, tmp_path, "--overwrite") == 2
    assert "masks would replace the images plain.nii.gz" in capsys.readouterr().err
    assert (tmp_path / "plain.nii.gz").read_bytes() == before


@pytest.mark.parametrize("ending", [".nii", ".nrrd", ".mha", ".mhd", ".gipl"])
def test_every_type_of_file_is_read_and_written(single_channel, tmp_path, ending):
    (tmp_path / "in").mkdir()
    sitk.WriteImage(image(), str(tmp_path / f"in/plain{ending}"))
    assert predict(single_channel, tmp_path / "in", tmp_path / "out", "--tta", "off") == 0
    mask = sitk.ReadImage(tmp_path / "out" / f"plain{'.mha' if ending == '.mhd' else ending}")
    assert mask.GetSize() == image().GetSize() and np.allclose(mask.GetSpacing(), image().GetSpacing())


def test_folders_of_dicom_series_are_cases(single_channel, tmp_path):
    for name in ("one", "two"):
        write_dicom_series(tmp_path / "in" / name, image())
    assert predict(single_channel, tmp_path / "in", tmp_path / "out", "--tta", "off") == 0
    assert predict(single_channel, tmp_path / "in" / "one", tmp_path / "alone", "--tta", "off") == 0
    names = [sorted(entry.name for entry in (tmp_path / each).iterdir()) for each in ("out", "alone")]
    assert names == [["one.nii.gz", "prediction.json", "two.nii.gz"], ["one.nii.gz", "prediction.json"]]
    assert sitk.ReadImage(tmp_path / "alone/one.nii.gz").GetSize() == image().GetSize()


def test_overwriting_keeps_what_it_cannot_replace_and_an_interruption_loses_nothing(
    model_file, images, tmp_path, monkeypatch, capsys
):
    """Masks of other settings never pass for new ones: the next run replaces them."""
    first, second, record = (tmp_path / "out" / name for name in ("first.nii.gz", "second.mha", "prediction.json"))
    assert predict(model_file, images, tmp_path / "out") == 0
    before = {file: file.read_bytes() for file in (first, second)}
    again = ("--tta", "off", "--overwrite")
    with monkeypatch.context() as interrupted:
        interrupted.setattr(Model, "segment", interrupt)
        assert predict(model_file, images, tmp_path / "out", *again) == 130
    assert {file: file.read_bytes() for file in (first, second)} == before
    whole = (images / "second_0000.mha").read_bytes()
    (images / "second_0000.mha").write_bytes(b"broken")
    assert predict(model_file, images, tmp_path / "out", *again) == 1
    assert "second.mha of another model or of other settings is still there" in capsys.readouterr().err
    assert first.read_bytes() != before[first] and second.read_bytes() == before[second]
    assert json.loads(record.read_text())["masks_of_earlier_settings"] == ["second.mha"]
    first.write_bytes(b"done")
    (images / "second_0000.mha").write_bytes(whole)
    assert predict(model_file, images, tmp_path / "out", "--tta", "off") == 0
    assert second.read_bytes() != before[second] and first.read_bytes() == b"done"
    assert "masks_of_earlier_settings" not in json.loads(record.read_text())


@pytest.mark.parametrize("content", ["[]", '"of another program"', "3", '{"Dice": 0.9}', "{}", "no JSON"])
def test_another_programs_prediction_json_is_named_and_kept(model_file, images, tmp_path, capsys, content):
    record = tmp_path / "out" / "prediction.json"
    record.parent.mkdir()
    record.write_text(content)
    for options in ([], ["--overwrite"]):
        assert predict(model_file, images, tmp_path / "out", *options) == 2
        assert f"{record}: the record of an earlier prediction expected" in capsys.readouterr().err
    assert record.read_text() == content and list(record.parent.iterdir()) == [record]


def break_with_nan(folder):
    """As .mha: where SimpleITK reads NIfTI, for nnU-Net too, it replaces NaN by 0."""
    broken = sitk.GetArrayFromImage(image())
    broken[0, 0, :2] = np.nan, np.inf
    for channel, voxels in enumerate((broken, np.ones_like(broken))):
        (folder / f"broken_{channel:04d}.nii.gz").unlink()
        sitk.WriteImage(sitk.GetImageFromArray(voxels), str(folder / f"broken_{channel:04d}.mha"))


def break_with_another_grid(folder):
    sitk.WriteImage(image(spacing=(1, 1, 5)), str(folder / "broken_0001.nii.gz"))


def break_with_orientation(folder):
    sitk.WriteImage(sitk.DICOMOrient(image(), "RAS"), str(folder / "broken_0001.nii.gz"))


def break_with_zeros(folder):
    for channel in range(2):
        sitk.WriteImage(image() * 0, str(folder / f"broken_{channel:04d}.nii.gz"))


def truncate(folder):
    file = folder / "broken_0000.nii.gz"
    file.write_bytes(file.read_bytes()[:-2000])


BROKEN = {
    "a missing channel": (lambda folder: (folder / "broken_0001.nii.gz").unlink(), "channel 0001 (MR1) is missing"),
    "one channel too many": (
        lambda folder: sitk.WriteImage(image(), str(folder / "broken_0002.nii.gz")),
        "broken_0002.nii.gz: the model has no channel 0002",
    ),
    "two files for a channel": (
        lambda folder: sitk.WriteImage(image(), str(folder / "broken_0000.mha")),
        "channel 0000 is there more than once",
    ),
    "other spacing": (break_with_another_grid, "spacing (1.0, 1.0, 5.0) found, expected (1.0, 1.0, 3.0) as of broken"),
    "wrong orientation": (break_with_orientation, "broken_0001.nii.gz: orientation"),
    "NaN": (break_with_nan, "MR0: 2 of 3564 voxels are NaN or infinite"),
    "an empty image": (break_with_zeros, "the image is empty: all voxels are 0"),
    "a truncated file": (truncate, "broken_0000.nii.gz: not an image that can be read, perhaps truncated"),
    "no image": (
        lambda folder: (folder / "broken_0000.nii.gz").write_text("text"),
        "broken_0000.nii.gz: not an image that can be read",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_case_is_named_and_the_others_are_predicted(model_file, tmp_path, capsys, kind):
    for seed, name in enumerate(("before", "broken", "later")):
        write_case(tmp_path / "in", name, seed)
    damage, message = BROKEN[kind]
    damage(tmp_path / "in")
    before = {file: file.read_bytes() for file in (tmp_path / "in").iterdir()}
    assert predict(model_file, tmp_path / "in", tmp_path / "out", "--tta", "off") == 1
    output = capsys.readouterr()
    assert "2 masks written" in output.out and "1 case failed" in output.out
    assert "  broken: " in output.err and message in output.err
    names = sorted(entry.name for entry in (tmp_path / "out").iterdir())
    assert names == ["before.nii.gz", "later.nii.gz", "prediction.json"]
    assert {file: file.read_bytes() for file in (tmp_path / "in").iterdir()} == before


def test_files_without_channel_number_are_refused_by_a_model_of_several_channels(model_file, images, tmp_path, capsys):
    sitk.WriteImage(image(), str(images / "plain.nii.gz"))
    assert predict(model_file, images, tmp_path / "out", "--tta", "off") == 1
    assert "plain.nii.gz: a channel number expected in the name, such as plain_0000" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-i", "absent"], "absent: no such file or folder"),
        (["-i", "."], "no images found"),
        (["-m", "absent.pyz"], "absent.pyz: no such file"),
    ],
)
def test_wrong_arguments_end_with_a_sentence(model_file, tmp_path, monkeypatch, capsys, arguments, message):
    write_case(tmp_path / "in", "case")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    defaults = {"-m": str(model_file), "-i": str(tmp_path / "in"), "-o": str(tmp_path / "out")}
    chosen = {**defaults, **dict(zip(arguments[::2], arguments[1::2], strict=True))}
    assert main(["predict", *(word for pair in chosen.items() for word in pair)]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_inputs_outside_of_the_trainings_ranges_are_warned_of(model_file, tmp_path, capsys):
    write_case(tmp_path / "in", "ok")
    write_case(tmp_path / "in", "odd", spacing=(1.0, 2.5, 3.0))
    for channel in range(2):
        file = tmp_path / "in" / f"odd_{channel:04d}.nii.gz"
        sitk.WriteImage(sitk.ReadImage(file) * (1 if channel else 100), str(file))
    assert predict(model_file, tmp_path / "in", tmp_path / "out", "--tta", "off") == 0
    warnings = [line for line in capsys.readouterr().err.splitlines() if "warning" in line or line.startswith("odd")]
    assert len(warnings) == 2
    assert "spacing 2.5 mm along axis y, the model was trained on 1 to 1 mm" in warnings[0]
    assert "MR0: intensities" in warnings[1] and "the training's foreground had 40 to 150" in warnings[1]


def test_3d_models_refuse_2d_images(tmp_path):
    planned = plan((8, 16, 12), (1, 1, 1), architecture=unet(3, 2, 4))
    folder = write_model_folder(tmp_path / "model", planned, mirror_axes=(0, 1, 2))
    model = Model.load(export_model(folder, tmp_path / "model.pyz").path)
    flat = sitk.GetImageFromArray(volume()[0, 4])
    with pytest.raises(UserError, match=r"a 2D image \(1 x 22 x 18 voxels\) found, expected a volume: the model is 3D"):
        model.predict([flat])
    with pytest.raises(UserError, match=r"2 channels found, expected 1: MR0"):
        model.predict(volume(channels=2), spacing=(1, 1, 1))


# What a colleague's fresh environment lacks, and no network.
