"""A teacher that can't teach this student is refused, with all reasons; one that can is the network of its folder."""

import json

import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from ser_nnunet.errors import UserError
from ser_nnunet.nnunet.plans import PlannedConfiguration
from ser_nnunet.nnunet.trained_model import read_trained_model
from ser_nnunet.training.sernet_plans import name_network
from ser_nnunet.training.teacher import Student, Teacher, TeacherError, load_teacher, read_teacher
from tests.training.helpers import DATASETS
from tests.training.teachers import unet_plans, write_teacher

CPU = torch.device("cpu")


def student(dataset="binary", fold=0, validation=("a", "b"), **plans):
    return Student(PlannedConfiguration(unet_plans(**plans), "2d", DATASETS[dataset]), fold, validation)


def refusal(folder, pupil):
    with pytest.raises(UserError) as error:
        read_teacher(str(folder), pupil)
    return str(error.value)


class TestNetwork:
    def reference(self, folder, planned):
        """The same network, built and filled by nnU-Net alone."""
        managers = planned.plans_manager, planned.configuration_manager
        network = nnUNetTrainer.build_network_architecture(*managers, planned.channels, planned.heads, False)
        network.load_state_dict(torch.load(folder / "fold_0/checkpoint_final.pth")["network_weights"])
        return network.eval()

    @pytest.mark.parametrize("trainer", ["nnUNetTrainer", "ATrainerThatIsNotInstalled"])
    def test_its_logits_are_those_of_the_saved_network(self, tmp_path, trainer):
        folder = write_teacher(tmp_path / "model", "classes", trainer=trainer)
        teacher = load_teacher(str(folder), student("classes"), CPU, "T")
        patch = torch.randn(2, 1, 32, 32)
        with torch.no_grad():
            expected = self.reference(folder, student("classes").planned)(patch)
        assert torch.equal(teacher(patch), expected) and expected.shape == (2, 3, 32, 32)
        assert ("wasn't found, so this is the network" in teacher.description) == (trainer != "nnUNetTrainer")

    def test_another_patch_size_is_padded_to_the_networks_strides(self, tmp_path):
        folder = write_teacher(tmp_path / "model")
        pupil = student(patch=(30, 37))
        patch = torch.randn(1, 1, 30, 37)
        logits = load_teacher(str(folder), pupil, CPU, "T")(patch)
        with torch.no_grad():
            padded = self.reference(folder, pupil.planned)(torch.nn.functional.pad(patch, (0, 3, 0, 2)))
        assert torch.equal(logits, padded[:, :, :30, :37])

    def test_it_is_frozen_and_draws_no_random_numbers(self, tmp_path):
        model = read_trained_model(write_teacher(tmp_path / "model"), 0)
        before = torch.get_rng_state()
        teacher = Teacher(model, CPU)
        assert torch.equal(torch.get_rng_state(), before)
        assert not teacher.network.training
        assert not any(parameter.requires_grad for parameter in teacher.network.parameters())
        assert not teacher(torch.randn(1, 1, 32, 32)).requires_grad

    def test_a_sernet_can_be_the_teacher(self, tmp_path, monkeypatch):
        monkeypatch.delenv("nnUNet_extTrainer", raising=False)
        plans = name_network(unet_plans(), "2d", DATASETS["binary"], "light")
        folder = write_teacher(tmp_path / "model", trainer="SERTrainerNoSAM", plans=plans)
        assert load_teacher(str(folder), student(), CPU, "T")(torch.randn(1, 1, 32, 32)).shape == (1, 2, 32, 32)

    def test_weights_of_another_network_are_refused(self, tmp_path):
        folder = write_teacher(tmp_path / "model", network=torch.nn.Linear(2, 2))
        with pytest.raises(TeacherError, match=r"doesn't fit the network that nnUNetTrainer builds"):
            load_teacher(str(folder), student(), CPU, "T")


class TestFolder:
    def test_without_the_variable_it_says_what_to_set_and_what_needs_none(self):
        with pytest.raises(TeacherError, match=r"(?s)MyTrainer learns.*SER_TEACHER isn't set.*-tr SERTrainerNoSAM"):
            load_teacher(None, student(), CPU, "MyTrainer")

    def test_an_absent_folder(self, tmp_path):
        assert "absent: no fold_*/checkpoint_final.pth found" in refusal(tmp_path / "absent", student())

    def test_an_unfinished_fold(self, tmp_path):
        message = refusal(write_teacher(tmp_path / "model", fold=1), student(fold=0))
        assert "fold_0 isn't finished, fold_1 found" in message

    def test_a_folder_of_one_fold_is_taken_as_it_is(self, tmp_path):
        folder = write_teacher(tmp_path / "model", fold=3)
        assert read_teacher(str(folder / "fold_3"), student(fold="all")).fold == 3

    def test_a_broken_summary_of_its_validation(self, tmp_path):
        folder = write_teacher(tmp_path / "model", validation=["a"])
        (folder / "fold_0/validation/summary.json").write_text("{}")
        assert "is no summary of nnU-Net's validation" in refusal(folder, student())

    @pytest.mark.parametrize("content", [b"no checkpoint", None])
    def test_a_file_that_is_no_checkpoint(self, tmp_path, content):
        file = write_teacher(tmp_path / "model") / "fold_0/checkpoint_final.pth"
        if content:
            file.write_bytes(content)
        else:
            torch.save({"network_weights": {}}, file)
        message = refusal(tmp_path / "model", student())
        assert ("can't be read as a checkpoint" if content else "it lacks trainer_name, init_args") in message


class TestDifferences:
    def test_all_are_listed_at_once(self, tmp_path):
        plans = unet_plans(spacing=[0.5, 0.5], normalization_schemes=["NoNormalization"], use_mask_for_norm=[True])
        plans["transpose_forward"] = [2, 0, 1]
        message = refusal(write_teacher(tmp_path / "model", "classes", fold=1, plans=plans), student())
        assert "fold_0 isn't finished" in message  # nothing is there to be compared
        message = refusal(tmp_path / "model/fold_1", student())
        for line in (
            "spacing: [0.5, 0.5] in the teacher, [1.0, 1.0] here",
            "order of axes: [2, 0, 1] in the teacher, [0, 1, 2] here",
            "normalization: ['NoNormalization'] in the teacher, ['ZScoreNormalization'] here",
            "normalization inside the nonzero mask: [True] in the teacher, [False] here",
            "labels: ['background 0', 'one 1', 'two 2'] in the teacher, ['background 0', 'lesion 1'] here",
            "fold: 1 in the teacher, 0 here",
        ):
            assert f"\n  {line}" in message
        assert message.count("\n") == 6, "and nothing else"

    def test_ct_intensities_count_for_ct_normalization_alone(self, tmp_path):
        def plans(scheme, mean):
            planned = unet_plans(normalization_schemes=[scheme])
            channel = {"mean": mean, "std": 1.0, "percentile_00_5": 0.0, "percentile_99_5": 9.0}
            return planned | {"foreground_intensity_properties_per_channel": {"0": channel}}

        for scheme in ("CTNormalization", "ZScoreNormalization"):
            folder = write_teacher(tmp_path / scheme, plans=plans(scheme, 5.0))
            pupil = Student(PlannedConfiguration(plans(scheme, 6.0), "2d", DATASETS["binary"]), 0, ())
            if scheme == "CTNormalization":
                assert "{0: [5.0, 1.0, 0.0, 9.0]} in the teacher, {0: [6.0, 1.0, 0.0, 9.0]} here" in refusal(
                    folder, pupil
                )
            else:
                read_teacher(str(folder), pupil)

    def test_the_ignore_label_may_differ_and_the_order_of_regions_may_not(self, tmp_path, monkeypatch):
        folder = write_teacher(tmp_path / "model", "regions")
        read_teacher(str(folder), student("regions_ignore"))
        swapped = {"background": 0, "core": 2, "whole": [1, 2]}
        monkeypatch.setitem(DATASETS, "swapped", DATASETS["regions"] | {"labels": swapped})
        assert "labels: ['background 0', 'whole [1, 2]', 'core 2'] in the teacher" in refusal(
            folder, student("swapped")
        )

    def test_channels_in_another_order(self, tmp_path, monkeypatch):
        two = {"normalization_schemes": ["ZScoreNormalization"] * 2, "use_mask_for_norm": [False] * 2}
        for name, channels in (("first", ["T1", "T2"]), ("second", ["T2", "T1"])):
            named = dict(zip("01", channels, strict=True))
            monkeypatch.setitem(DATASETS, name, DATASETS["binary"] | {"channel_names": named})
        folder = write_teacher(tmp_path / "model", "first", plans=unet_plans(**two))
        assert "channels: ['T1', 'T2'] in the teacher, ['T2', 'T1'] here" in refusal(folder, student("second", **two))

    def test_without_strides_in_the_plan_the_patch_must_be_the_teachers(self, tmp_path):
        architecture = {"network_class_name": "x", "arch_kwargs": {}, "_kw_requires_import": []}
        plans = unet_plans(architecture=architecture)
        folder = write_teacher(tmp_path / "model", plans=plans, network=torch.nn.Linear(1, 1))
        assert "patch size: (32, 32) in the teacher, (64, 32) here" in refusal(folder, student(patch=(64, 32)))
        read_teacher(str(folder), student())

    def test_a_3d_teacher(self, tmp_path):
        plans = unet_plans(configuration="3d_fullres", patch=(8, 8, 8), architecture={"arch_kwargs": {"strides": []}})
        folder = write_teacher(tmp_path / "model", plans=plans, network=torch.nn.Linear(1, 1))
        assert "dimension: 3 in the teacher, 2 here" in refusal(folder, student())


class TestLeaks:
    """A teacher that was trained on the student's validation cases would pass their labels on."""

    def test_another_fold(self, tmp_path):
        folder = write_teacher(tmp_path / "model", fold=1) / "fold_1"
        message = refusal(folder, student(fold=0))
        assert "fold: 1 in the teacher, 0 here. It was trained on validation cases of this fold" in message
        read_teacher(str(folder), student(fold="all"))

    def test_all_cases(self, tmp_path):
        folder = write_teacher(tmp_path / "model", fold="all", validation=["a", "b", "c"])
        assert "fold: all in the teacher, 0 here" in refusal(folder / "fold_all", student())
        read_teacher(str(folder), student(fold="all"))

    def test_a_renamed_folder_of_another_fold(self, tmp_path):
        folder = write_teacher(tmp_path / "model", fold="all")
        (folder / "fold_all").rename(folder / "fold_0")
        assert "fold: all in the teacher, 0 here" in refusal(folder, student())

    def test_a_split_that_has_changed_since(self, tmp_path):
        folder = write_teacher(tmp_path / "model", validation=["b", "d"])
        message = refusal(folder, student(validation=["a", "b", "c"]))
        assert "split: 2 validation cases of fold 0 were not validation cases of the teacher (a, c)" in message

    def test_the_same_split_or_a_part_of_its_validation_cases(self, tmp_path):
        folder = write_teacher(tmp_path / "model", validation=["a", "b", "c"])
        read_teacher(str(folder), student(validation=["a", "b"]))

    def test_another_data_set_is_left_to_the_users_judgement(self, tmp_path):
        plans = unet_plans() | {"dataset_name": "Dataset002_Other"}
        folder = write_teacher(tmp_path / "model", plans=plans, fold=1, validation=["x"])
        teacher = load_teacher(str(folder / "fold_1"), student(), CPU, "T")
        assert teacher.dataset == "Dataset002_Other"


def test_nothing_of_the_teachers_is_changed(tmp_path):
    folder = write_teacher(tmp_path / "model", validation=["a", "b"])
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    load_teacher(str(folder), student(), CPU, "T")
    assert {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()} == before
    assert json.loads((folder / "plans.json").read_text()) == unet_plans()
