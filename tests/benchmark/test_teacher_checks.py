"""A trainer with a teacher: what would stop it is reported first, and it trains, resumes and predicts."""

import numpy as np
import pytest
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.run.run_training import get_trainer_from_args

from ser_nnunet.benchmark.runs import Run
from ser_nnunet.benchmark.training_process import use_bfloat16
from ser_nnunet.cli import main
from ser_nnunet.nnunet.trainers import trainers_folder
from tests.benchmark.tiny_dataset import read_files

pytestmark = pytest.mark.usefixtures("planned_data")


def test_without_a_teacher_no_trainer_starts(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("SER_TEACHER", raising=False)
    monkeypatch.setattr(Run, "train_and_predict", lambda *_: pytest.fail("a training was started"))
    command = ["benchmark", "accuracy", "-d", "1", "-tr", "SERTrainerNoSAM", "SERTrainerDistill", "--epochs", "3"]
    assert main([*command, "-o", str(tmp_path / "out"), "-device", "cpu"]) == 2
    message = "SERTrainerDistill (fold 0): The environment variable SER_TEACHER isn't set"
    assert message in capsys.readouterr().err and not (tmp_path / "out").exists()


def build(name, epochs):
    """A trainer of a few steps per epoch on the tiny data set."""
    trainer = get_trainer_from_args("1", "2d", 0, name, device=torch.device("cpu"))
    trainer.num_epochs, trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch = epochs, 2, 1
    trainer.save_every = 1
    return trainer


@pytest.mark.slow
def test_a_u_net_teaches_a_student_that_is_interrupted_and_predicts_without_it(planned_data, tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    monkeypatch.setenv("nnUNet_extTrainer", str(trainers_folder()))
    before, results = read_files(planned_data), tmp_path / "users_results" / "Dataset001_Tiny"
    build("nnUNetTrainer", 1).run_training()
    teacher = results / "nnUNetTrainer__nnUNetPlans__2d"
    monkeypatch.setenv("SER_TEACHER", str(teacher))
    learned = read_files(teacher)

    student = build("SERTrainerDistill", 2)
    save = student.save_checkpoint

    def interrupt(file):
        save(file)
        if student.current_epoch == 0 and "latest" in file:
            raise KeyboardInterrupt

    monkeypatch.setattr(student, "save_checkpoint", interrupt)
    with pytest.raises(KeyboardInterrupt):
        student.run_training()
    student.release_folder()  # as the end of its process would
    resumed = build("SERTrainerDistill", 2)
    resumed.load_checkpoint(str(results / "SERTrainerDistill__nnUNetPlans__2d/fold_0/checkpoint_latest.pth"))
    use_bfloat16(resumed)
    assert resumed.current_epoch == 1
    assert resumed.load_teacher()(torch.randn(1, 1, 32, 32)).dtype == torch.float32
    resumed.run_training()

    monkeypatch.setenv("SER_TEACHER", "/nowhere")
    folder = results / "SERTrainerDistill__nnUNetPlans__2d"
    log = torch.load(folder / "fold_0/checkpoint_final.pth", weights_only=False)["logging"]
    for key in ("train_losses_distillation", "teacher_dice", "train_losses_dist"):
        assert len(log[key]) == 2 and np.isfinite(log[key]).all()
    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(folder), (0,))
    assert predictor.predict_logits_from_preprocessed_data(torch.randn(1, 3, 32, 32)).shape == (2, 3, 32, 32)
    assert read_files(teacher) == learned and read_files(planned_data) == before
