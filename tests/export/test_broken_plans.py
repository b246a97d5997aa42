"""A model folder whose plans.json or dataset.json is damaged is refused, and the file and the entry are named."""

import json
import shutil

import pytest
import torch

from ser_nnunet.cli import main
from ser_nnunet.export.model_folder import read_model_folder
from tests.export.model_folders import unet, write_model_folder
from tests.runtime.toy import plan


def entry(*path, value=None):
    """Return a change of plans.json or dataset.json: the entry is removed, or gets a value."""

    def change(content):
        for key in path[:-1]:
            content = content[key]
        del content[path[-1]]
        if value is not None:
            content[path[-1]] = value[0]

    return change


OF_CONFIGURATION = {
    "resampling_fn_data": "configurations.2d.resampling_fn_data: Field required",
    "resampling_fn_probabilities_kwargs": "configurations.2d.resampling_fn_probabilities_kwargs: Field required",
    "normalization_schemes": "configurations.2d.normalization_schemes: Field required",
    "use_mask_for_norm": "configurations.2d.use_mask_for_norm: Field required",
    "architecture": "architecture: the network's class and its arguments expected, none found",
    "spacing": "configurations.2d.spacing: Field required",
}
INTENSITIES = "foreground_intensity_properties_per_channel"
PLANS = {
    **{f"no {name}": (entry("configurations", "2d", name), said) for name, said in OF_CONFIGURATION.items()},
    "no transpose_forward": (entry("transpose_forward"), "transpose_forward: Field required"),
    "an axis twice": (entry("transpose_forward", value=[[0, 1, 1]]), "each of the axes 0, 1, 2 expected once"),
    "no intensities": (entry(INTENSITIES), f"{INTENSITIES}: Field required"),
    "empty intensities": (entry(INTENSITIES, value=[{}]), f"{INTENSITIES}: an entry for each of the channels 0"),
    "spacing null": (
        entry("configurations", "2d", "spacing", value=[None]),
        "2d.spacing: Input should be",
    ),
    "patch of text": (entry("configurations", "2d", "patch_size", value=["x"]), "found 'x'"),
    "a 3D patch": (entry("configurations", "2d", "patch_size", value=[[8, 8, 8]]), "spacing has 2 axes, patch_size 3"),
    "two masks": (entry("configurations", "2d", "use_mask_for_norm", value=[[True, True]]), "has 1 channels"),
    "order of text": (
        entry("configurations", "2d", "resampling_fn_data_kwargs", "order", value=["x"]),
        "resampling_fn_data_kwargs.order: Input should be a valid integer",
    ),
    "no configurations": (
        entry("configurations", value=[{}]),
        "configurations: Dictionary should have at",
    ),
    "others alone": (
        entry("configurations", value=[{"3d_fullres": {}}]),
        "the configuration 2d that the model was trained with expected, found are 3d_fullres",
    ),
    "a lost parent": (
        entry("configurations", value=[{"2d": {"inherits_from": "2d_base"}}]),
        "the configuration 2d_base that 2d inherits from expected, found are 2d",
    ),
    "a parent of a list": (entry("configurations", value=[{"2d": {"inherits_from": ["3d"]}}]), "that 2d inherits from"),
    "a circle": (entry("configurations", value=[{"2d": {"inherits_from": "2d"}}]), "2d that 2d inherits from"),
    "a network without a class": (
        entry("configurations", "2d", "architecture", "network_class_name"),
        "architecture.network_class_name: Field required",
    ),
    "a network's arguments": (
        entry("configurations", "2d", "architecture", "arch_kwargs", value=[{"n_stages": 1}]),
        "nnU-Net can't build its network as plans.json describes it",
    ),
}
DATASET = {
    "no labels": (entry("labels"), "labels: Field required"),
    "no channel_names": (entry("channel_names"), 'channel_names: names such as {"0": "T1"} expected'),
    "two channels": (entry("channel_names", value=[{"0": "A", "1": "B"}]), "1 channels, but"),
    "channels by name": (entry("channel_names", value=[{"T1": "0"}]), "channel_names.T1"),
    "no background": (entry("labels", value=[{"lesion": 1}]), "labels: Background label not declared"),
    "no file_ending": (entry("file_ending"), "file_ending: Field required"),
}
CASES = [("plans.json", name, *case) for name, case in PLANS.items()]
CASES += [("dataset.json", name, *case) for name, case in DATASET.items()]


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return write_model_folder(tmp_path_factory.mktemp("good") / "A__B__2d", plan(architecture=unet(2, 2, 4)))


@pytest.fixture
def folder(good, tmp_path):
    return shutil.copytree(good, tmp_path / good.name)


def rewrite(file, change):
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


@pytest.mark.parametrize(("name", "what", "change", "said"), CASES, ids=[f"{name} {what}" for name, what, *_ in CASES])
def test_export_names_the_file_and_the_entry(folder, tmp_path, capsys, name, what, change, said):
    rewrite(folder / name, change)
    assert main(["export", str(folder), "-o", str(tmp_path / "model.pyz")]) == 2
    message = capsys.readouterr().err
    assert name in message and str(folder) in message and said in message, message
    assert "--dataset-json" not in message and not (tmp_path / "model.pyz").exists()


def test_predict_names_all_that_is_missing_in_both_files(folder, tmp_path, capsys):
    for key in ("spacing", "architecture"):
        rewrite(folder / "plans.json", entry("configurations", "2d", key))
    rewrite(folder / "plans.json", entry("transpose_forward"))
    rewrite(folder / "dataset.json", entry("labels"))
    (tmp_path / "in").mkdir()
    assert main(["predict", "-m", str(folder), "-i", str(tmp_path / "in"), "-o", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    for said in ("2d.spacing: Field required", "transpose_forward: Field required", "labels: Field required"):
        assert said in message, message


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda file: file.write_bytes(file.read_bytes()[:1000]), "can't be read as a checkpoint of nnU-Net's"),
        (lambda file: torch.save({"network_weights": {}}, file), "it lacks init_args"),
    ],
    ids=["cut off", "of another program"],
)
def test_a_checkpoint_that_is_none_of_nnunets_is_named(folder, tmp_path, capsys, damage, said):
    file = folder / "fold_0" / "checkpoint_final.pth"
    damage(file)
    assert main(["export", str(folder), "-o", str(tmp_path / "model.pyz")]) == 2
    message = capsys.readouterr().err
    assert str(file) in message and said in message


def test_a_fingerprint_of_another_shape_is_named(folder, tmp_path, capsys):
    (folder / "dataset_fingerprint.json").write_text('{"spacings": [[1, 1]]}')
    assert main(["export", str(folder), "-o", str(tmp_path / "model.pyz")]) == 2
    assert "dataset_fingerprint.json" in capsys.readouterr().err


def test_a_configuration_that_inherits_its_entries_is_read(folder):
    rewrite(folder / "plans.json", lambda plans: plans["configurations"].update(base=plans["configurations"].pop("2d")))
    rewrite(
        folder / "plans.json",
        lambda plans: plans["configurations"].update({"2d": {"inherits_from": "base", "spacing": [2, 3]}}),
    )
    recipe = read_model_folder(folder, None, "checkpoint_final.pth").recipe
    assert recipe.spacing == (2, 3) and recipe.patch_size == (16, 12)


def test_entries_of_earlier_versions_of_nnunet_are_read(folder):
    rewrite(
        folder / "plans.json",
        lambda plans: plans.update(foreground_intensity_properties_by_modality=plans.pop(INTENSITIES)),
    )
    rewrite(folder / "dataset.json", lambda dataset: dataset.update(modality=dataset.pop("channel_names")))
    recipe = read_model_folder(folder, None, "checkpoint_final.pth").recipe
    assert recipe.channels == ("MR0",) and recipe.normalization[0].intensities["mean"] == 90
