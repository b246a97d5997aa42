"""A received model is looked into without running what it holds."""

import json
import pickle
import zipfile
from collections import OrderedDict
from io import BytesIO

import numpy as np
import pytest
import torch
from nnunetv2.postprocessing.remove_connected_components import remove_all_but_largest_component_from_segmentation

from ser_nnunet.cli import main
from ser_nnunet.runtime.model_file import MANIFEST
from ser_nnunet.utils.model_format import MODEL_FORMAT
from ser_nnunet.utils.pickle_contents import imported_names, is_plain

NETWORK = "ser_nnunet.network.ser_net.SERNet"


class Malicious:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (open, (str(self.mark), "w"))


def write_model(root, extra=None, trainer="SERTrainerNoSAM", network=NETWORK):
    """A model as nnU-Net saves it, with its numbers of numpy's."""
    folder = root / "Dataset001_Tiny" / f"{trainer}__nnUNetPlans__2d"
    (folder / "fold_0").mkdir(parents=True)
    content = {
        "network_weights": OrderedDict(a=torch.zeros(2, 3), b=torch.nn.Parameter(torch.ones(1))),
        "logging": {"losses": [np.float32(1.5), np.float64(2)], "all": np.zeros(3)},
        "init_args": {"fold": 0, "device": torch.device("cpu"), "unpack": True},
        "inference_allowed_mirroring_axes": (0, 1),
        **(extra or {}),
    }
    torch.save(content, folder / "fold_0" / "checkpoint_final.pth")
    configurations = {"base": {"architecture": {"network_class_name": network}}, "2d": {"inherits_from": "base"}}
    (folder / "plans.json").write_text(json.dumps({"configurations": configurations}))
    return folder


def zip_model(folder, file):
    with zipfile.ZipFile(file, "w") as archive:
        for path in folder.parent.parent.rglob("*"):
            if path.is_file():
                archive.write(path, path.relative_to(folder.parent.parent))
    return file


def check(place, capsys):
    status = main(["check-model", str(place)])
    shown = capsys.readouterr()
    return status, shown.out + shown.err


def test_tensors_plain_data_and_numpys_numbers_are_fine_in_a_folder_and_a_zip(tmp_path, capsys):
    folder = write_model(tmp_path / "results")
    for place in (folder, folder.parent, zip_model(folder, tmp_path / "model.zip")):
        status, shown = check(place, capsys)
        assert status == 0, shown
        assert "fold_0/checkpoint_final.pth  ok" in shown or "checkpoint_final.pth" in shown
        assert "tensors and plain data" in shown
        assert f"{NETWORK} is here" in shown and "SERTrainerNoSAM is here" in shown


def test_code_in_a_checkpoint_is_named_and_not_run(tmp_path, capsys):
    folder = write_model(tmp_path / "results", {"x": Malicious(tmp_path / "run")})
    for place in (folder, zip_model(folder, tmp_path / "model.zip")):
        status, shown = check(place, capsys)
        assert status == 1 and "loading it runs" in shown and "open" in shown, shown
    assert not (tmp_path / "run").exists()


def test_a_zip_with_a_checkpoint_is_not_taken_for_an_exported_file(tmp_path, capsys):
    file = zip_model(write_model(tmp_path / "results", {"x": Malicious(tmp_path / "run")}), tmp_path / "model.zip")
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(MANIFEST, "{}")
    status, shown = check(file, capsys)
    assert status == 1 and "loading it runs" in shown


def test_code_in_a_pickle_beside_the_checkpoint_is_named_and_not_run(tmp_path, capsys):
    folder = write_model(tmp_path / "results")
    (folder / "postprocessing.pkl").write_bytes(pickle.dumps(Malicious(tmp_path / "run")))
    status, shown = check(folder, capsys)
    assert status == 1 and "postprocessing.pkl" in shown and "io.open" in shown
    assert not (tmp_path / "run").exists()


def test_what_nnunet_itself_leaves_beside_the_checkpoints_is_no_problem(tmp_path, capsys):
    """The choice of the best configuration, and a validation with `--npz`."""
    folder = write_model(tmp_path / "results")
    steps = [remove_all_but_largest_component_from_segmentation]
    for place in (folder, folder / "crossval_results_folds_0_1_2_3_4"):
        place.mkdir(exist_ok=True)
        (place / "postprocessing.pkl").write_bytes(pickle.dumps((steps, [{"labels_or_regions": (1, 2)}])))
    validation = folder / "fold_0" / "validation"
    validation.mkdir()
    np.savez_compressed(validation / "case.npz", probabilities=np.zeros((2, 3, 3), np.float16))
    for ending in (".nii.gz", ".nii", ".nrrd", ".mha", ".gipl", ".png", ".bmp", ".tif", ".tiff"):
        (validation / f"case{ending}").touch()
    (folder / "fold_0" / ".training.lock").touch()
    (folder / "fold_0" / ".training.lock.json").write_text("{}")
    for place in (folder, zip_model(folder, tmp_path / "model.zip")):
        status, shown = check(place, capsys)
        assert status == 0 and "1 file (*.npz) of numbers alone" in shown, shown


def test_the_function_of_nnunets_postprocessing_is_known_in_its_own_file_only(tmp_path, capsys):
    folder = write_model(tmp_path / "results")
    (folder / "other.pkl").write_bytes(pickle.dumps(remove_all_but_largest_component_from_segmentation))
    status, shown = check(folder, capsys)
    assert status == 1 and "loading it runs nnunetv2.postprocessing" in shown


def write_objects(file, mark):
    np.savez(file, probabilities=np.array([Malicious(mark)], dtype=object))


def write_pickle_before_a_zip(file, mark):
    np.savez(file, probabilities=np.zeros(2))
    file.write_bytes(pickle.dumps(Malicious(mark)) + file.read_bytes())


def write_something_else(file, mark):
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("probabilities.npy", b"no array")


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (write_objects, "probabilities.npy holds objects"),
        (write_pickle_before_a_zip, "does not begin as a zip of arrays"),
        (write_something_else, "magic"),
        (lambda file, mark: file.write_bytes(b""), "does not begin as a zip of arrays"),
    ],
)
def test_arrays_that_hold_more_than_numbers_are_named_and_not_loaded(tmp_path, capsys, write, reason):
    folder = write_model(tmp_path / "results")
    write(folder / "fold_0" / "case.npz", tmp_path / "run")
    for place in (folder, zip_model(folder, tmp_path / "model.zip")):
        status, shown = check(place, capsys)
        assert status == 1 and "case.npz: " in shown and reason in shown and "don't load them" in shown, shown
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("protocol", range(6))
def test_the_imports_of_every_protocol_are_found(protocol):
    content = {"a": OrderedDict(), "b": [OrderedDict(), Malicious("x")], "c": np.float64(1)}
    names = set(imported_names(BytesIO(pickle.dumps(content, protocol))))
    unsafe = {name for name in names if not is_plain(name)}
    assert unsafe in ({"io.open"}, {"_io.open"}, {"__builtin__.open"}, {"builtins.open"}), names


def test_names_that_the_instructions_hide_are_unsafe():
    hidden = b"\x80\x04\x8c\x02os\x94\x8c\x06system\x940h\x00h\x01\x93."  # taken from the memo
    assert set(imported_names(BytesIO(hidden))) == {"os.system"}
    computed = b"\x80\x04\x8c\x02os\x8c\x06system\x86\x93."
    assert {is_plain(name) for name in imported_names(BytesIO(computed))} == {False}


@pytest.mark.parametrize("name", ["../../outside.txt", "/etc/outside.txt", "C:/outside.txt", "a\\..\\..\\outside.txt"])
def test_a_zip_that_writes_outside_its_folder_is_a_problem(tmp_path, capsys, name):
    file = zip_model(write_model(tmp_path / "results"), tmp_path / "model.zip")
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(zipfile.ZipInfo(name), "x")
    status, shown = check(file, capsys)
    assert status == 1 and "writes outside its folder" in shown


def test_a_file_without_a_name_is_a_problem_and_no_fault(tmp_path, capsys):
    file = zip_model(write_model(tmp_path / "results"), tmp_path / "model.zip")
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(zipfile.ZipInfo("."), "x")
    status, shown = check(file, capsys)
    assert status == 1 and "not needed for a prediction: ." in shown


def test_a_zip_that_grows_beyond_reason_is_a_problem(tmp_path, capsys):
    file = zip_model(write_model(tmp_path / "results"), tmp_path / "model.zip")
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros.txt", bytes(30_000_000))
    status, shown = check(file, capsys)
    assert status == 1 and "MB become 30 MB" in shown


def test_a_trainer_and_a_network_that_are_not_here_are_named(tmp_path, capsys):
    folder = write_model(tmp_path / "results", trainer="NobodysTrainer", network="nobody.networks.Net")
    status, shown = check(folder, capsys)
    assert status == 1 and "NobodysTrainer is not found" in shown and "nobody.networks.Net" in shown


def architecture(network="dynamic_network_architectures.architectures.unet.PlainConvUNet", **layers):
    return {
        "architecture": {"network_class_name": network, "arch_kwargs": layers, "_kw_requires_import": list(layers)},
    }


@pytest.mark.parametrize(
    ("configurations", "expected"),
    [
        ({"2d": architecture("torch.hub.load")}, "a prediction runs torch.hub.load"),
        ({"2d": architecture("ser_nnunet.network.ser_net.torch.hub.load")}, "or no network"),
        ({"2d": architecture("nnunetv2..paths")}, "or no network"),
        ({"2d": architecture("nnunetv2.utilities.helpers.empty_cache")}, "or no network"),
        ({"2d": architecture(), "other": architecture("os.system")}, "a prediction runs os.system"),
        ({"2d": architecture(conv_op="torch.nn.Conv2d", nonlin="os.system")}, "imports os.system for its nonlin"),
        ({"2d": architecture(nonlin="torch.nn.modules.conv.torch.hub.load")}, "torch.hub.load for its nonlin"),
        ({"2d": {"UNet_class_name": "os.system"}}, "os.system is unknown"),
        ({"2d": {"patch_size": [8, 8]}}, "no plans of nnU-Net's"),
    ],
)
def test_a_function_in_place_of_a_network_or_layer_is_a_problem_in_every_configuration(
    tmp_path, capsys, configurations, expected
):
    """nnU-Net imports and calls what the plans name; a checkpoint says which configuration."""
    folder = write_model(tmp_path / "results")
    (folder / "plans.json").write_text(json.dumps({"configurations": configurations}))
    status, shown = check(folder, capsys)
    assert status == 1 and expected in shown


def test_the_networks_and_layers_of_nnunets_own_plans_are_fine(tmp_path, capsys):
    folder = write_model(tmp_path / "results")
    residual = "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet"
    layers = {"conv_op": "torch.nn.modules.conv.Conv3d", "nonlin": "torch.nn.LeakyReLU", "dropout_op": None}
    of_2023 = {"UNet_class_name": "PlainConvUNet"}
    plans = {"2d": architecture(**layers), "3d_fullres": architecture(residual, **layers), "3d_lowres": of_2023}
    (folder / "plans.json").write_text(json.dumps({"configurations": plans}))
    status, shown = check(folder, capsys)
    assert status == 0 and shown.count("is here") == 4, shown


@pytest.mark.parametrize("content", [b"", b"no checkpoint", pickle.dumps({"a": 1}), b"PK\x03\x04" + bytes(50)])
def test_a_checkpoint_that_cannot_be_examined_is_a_problem(tmp_path, capsys, content):
    folder = write_model(tmp_path / "results")
    (folder / "fold_0" / "checkpoint_final.pth").write_bytes(content)
    status, shown = check(folder, capsys)
    assert status == 1 and "can't be examined, don't load it" in shown


def test_a_pickle_before_a_harmless_zip_is_a_problem(tmp_path, capsys):
    """torch.load would unpickle the beginning."""
    folder = write_model(tmp_path / "results")
    file = folder / "fold_0" / "checkpoint_final.pth"
    file.write_bytes(pickle.dumps(Malicious(tmp_path / "run")) + file.read_bytes())
    status, shown = check(folder, capsys)
    assert status == 1 and "can't be examined, don't load it" in shown
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_in_another_folder_is_a_problem(tmp_path, capsys):
    folder = write_model(tmp_path / "results")
    folder.rename(tmp_path / "mine")
    for place in (tmp_path / "mine", tmp_path / "mine" / "fold_0"):
        status, shown = check(place, capsys)
        assert status == 1 and "a folder TRAINER__PLANS__CONFIGURATION expected" in shown


def test_what_is_no_model_is_refused(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.zip").write_text("no zip")
    for name in ("empty", "text.zip", "absent"):
        status, shown = check(tmp_path / name, capsys)
        assert status == 2 and name in shown


def test_the_record_in_the_plans_says_whether_a_trainer_is_needed_and_which_format_the_model_has(tmp_path, capsys):
    folder = write_model(tmp_path / "results", trainer="OfAColleague")
    plans = json.loads((folder / "plans.json").read_text())
    shown = {}
    for name, record in {
        "ours": {"version": "0.4.0", "format": MODEL_FORMAT, "builder": "nnUNetTrainer"},
        "own network": {"version": "0.2.0", "format": 2, "builder": "OfAColleague"},
        "later": {"version": "9.0.0", "format": 99, "builder": "nnUNetTrainer"},
    }.items():
        (folder / "plans.json").write_text(json.dumps(plans | {"ser_nnunet": record}))
        shown[name] = check(folder, capsys)
    assert shown["ours"][0] == 0 and "OfAColleague isn't needed for a prediction" in shown["ours"][1]
    assert shown["own network"][0] == 1 and "OfAColleague is not found" in shown["own network"][1]
    assert shown["later"][0] == 1 and "the model format 99 of ser-nnunet 9.0.0" in shown["later"][1]
