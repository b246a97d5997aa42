"""`benchmark accuracy`: the user's folders stay as they are, bad input is reported at once, and runs resume."""

import json
import zipfile

import pandas as pd
import pytest
import torch

from ser_nnunet.benchmark.run_provenance import record_sam
from ser_nnunet.benchmark.runs import Run
from ser_nnunet.cli import main
from ser_nnunet.sam.dummy_sam import build_dummy_sam
from tests.benchmark.tiny_dataset import read_files

pytestmark = pytest.mark.usefixtures("planned_data")


def test_everything_that_would_stop_a_run_is_reported_before_it_starts(tmp_path, capsys):
    command = ["benchmark", "accuracy", "-d", "1", "-tr", "SERTrainer", "NoSuchTrainer", "SERTrainer"]
    assert main([*command, "--epochs", "1", "-o", str(tmp_path / "out"), "-device", "cpu"]) == 2
    message = capsys.readouterr().err
    assert "SERTrainer named twice" in message
    assert "there is no trainer NoSuchTrainer" in message
    assert not (tmp_path / "out").exists()


def test_a_guided_trainer_without_sam_is_refused_before_the_others_train(tmp_path, capsys):
    command = ["benchmark", "accuracy", "-d", "1", "-tr", "nnUNetTrainer", "SERTrainerJoint", "--epochs", "3"]
    assert main([*command, "-o", str(tmp_path / "out"), "-device", "cpu"]) == 2
    assert "SERTrainerJoint need SAM: set SER_SAM_CHECKPOINT" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changed", "reported"),
    [
        (["-d", "77"], "one folder Dataset077_* expected"),
        (["-c", "3d_fullres"], "no configuration 3d_fullres; it has 2d"),
        (["-f", "4"], "fold 4 doesn't exist: there are folds 0 to 0"),
        (["-p", "nnUNetOther"], "nnUNetOther.json is missing"),
        (["--train-cases", "9"], "fold 0 has 4 training cases"),
        (["-f", "0", "0"], "-f: 0 named twice"),
        (["--baselines", "NoSuchBaseline"], "there is no trainer NoSuchBaseline"),
        (["--groups", "absent.csv"], "--groups: absent.csv: JSON"),
        (["--bfloat16", "-device", "cuda"], "--bfloat16 is for the CPU; on cuda"),
    ],
)
def test_absent_data_is_named(changed, reported, tmp_path, capsys):
    command = ["benchmark", "accuracy", "-d", "1", "-tr", "nnUNetTrainer", "--epochs", "1", "-device", "cpu", *changed]
    assert main([*command, "-o", str(tmp_path / "out")]) == 2
    assert reported in capsys.readouterr().err and not (tmp_path / "out").exists()


def fail_after_one_epoch(run, spec, _preprocessed, _report_epochs):
    """Leave behind what a training interrupted after its first epoch has written."""
    run.folder.mkdir(parents=True, exist_ok=True)
    (run.folder / "run.json").write_text(json.dumps(spec | {"software": [spec["software"]]}))
    (run.folder / "curve.csv").write_text("epoch\n0\n")
    return False


def test_guided_trainers_can_be_added_later_but_not_with_another_sam(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Run, "train_and_predict", fail_after_one_epoch)
    out, sam = tmp_path / "out", tmp_path / "sam.pth"
    command = ["benchmark", "accuracy", "-d", "1", "--epochs", "3", "-o", str(out), "-device", "cpu"]
    command += ["--baselines", "nnUNetTrainer", "-tr"]
    assert main([*command, "nnUNetTrainer"]) == 2  # the simulated training has failed
    torch.save(build_dummy_sam(seed=0).state_dict(), sam)
    for path, folder in ((sam, tmp_path), ("sam.pth", tmp_path), ("../sam.pth", out)):  # three paths to one file
        monkeypatch.chdir(folder)
        monkeypatch.setenv("SER_SAM_CHECKPOINT", str(path))
        capsys.readouterr()
        assert main([*command, "nnUNetTrainer", "SERTrainer"]) == 2
        assert "2 of 2 runs failed" in capsys.readouterr().err
    runs = [Run(name, 0, 0, out / "runs" / f"{name}_fold0_seed0") for name in ("nnUNetTrainer", "SERTrainer")]
    recorded = record_sam(str(sam))["sam_sha256"]
    assert [run.record["sam_sha256"] for run in runs] == [None, recorded]

    torch.save(build_dummy_sam(seed=1).state_dict(), sam)
    assert main([*command, "SERTrainerJoint"]) == 2
    message = capsys.readouterr().err
    assert "guided by another SAM" in message and recorded[:12] in message and "SERTrainer_fold0_seed0" in message
    assert not (out / "runs" / "SERTrainerJoint_fold0_seed0").exists()
    assert main([*command, "nnUNetTrainer"]) == 2  # a run without SAM isn't refused
    assert "1 of 1 runs failed" in capsys.readouterr().err


@pytest.mark.slow
def test_an_interrupted_benchmark_resumes_and_ends_in_tables(planned_data, tmp_path, monkeypatch, capsys):
    for name, count in (("nnUNet_n_proc_DA", "0"), ("nnUNet_def_n_proc", "1"), ("OMP_NUM_THREADS", "1")):
        monkeypatch.setenv(name, count)
    before, out = read_files(planned_data), tmp_path / "out"
    command = ["benchmark", "accuracy", "-d", "1", "-tr", "SERTrainerNoSAM", "--epochs", "3"]
    command += ["--baselines", "nnUNetTrainer", "--iterations", "2", "--batch-size", "3", "--save-every", "1"]
    command += ["-device", "cpu", "-o", str(out)]
    train_and_predict, interrupted = Run.train_and_predict, []

    def interrupt_once(run, spec, preprocessed, report_epochs):
        def stop(epochs):
            report_epochs(epochs)
            whole = {file.stem for file in run.folder.rglob("checkpoint_*.pth") if zipfile.is_zipfile(file)}
            # the one that nnU-Net writes at this moment may be half, and the training would begin anew with it alone
            enough = "checkpoint_final" in whole or whole >= {"checkpoint_latest", "checkpoint_best"}
            if enough and not interrupted:
                interrupted.append(run.trainer)
                raise KeyboardInterrupt

        return train_and_predict(run, spec, preprocessed, stop)

    monkeypatch.setattr(Run, "train_and_predict", interrupt_once)
    assert main(command) == 130
    assert "the same command resumes" in capsys.readouterr().out
    assert interrupted == ["nnUNetTrainer"] and not (out / "accuracy.csv").exists()
    assert main(command) == 0

    log = (out / "runs" / "nnUNetTrainer_fold0_seed0" / "train.log").read_text()
    assert "resuming from checkpoint_" in log and log.count("Epoch 2") >= 1
    curves = pd.read_csv(out / "learning_curves.csv").groupby("trainer")["iterations"].apply(list).to_dict()
    assert curves == {"SERTrainerNoSAM": [2, 4, 6], "nnUNetTrainer": [2, 4, 6]}
    costs = pd.read_csv(out / "costs.csv").set_index("trainer")
    assert costs["batch_size"].tolist() == [3, 3] and costs.loc["nnUNetTrainer", "train_seconds"] > 0
    table = pd.read_csv(out / "accuracy.csv").set_index(["trainer", "metric"])
    evaluated = pd.read_csv(out / "evaluation" / "metrics_wide.csv").set_index(["method", "case"])
    assert table.loc[("nnUNetTrainer", "Dice"), "mean"] == evaluated.loc[("nnUNetTrainer", "case_4"), "Dice"]
    assert (out / "learning_curves.png").is_file() and "nnUNetTrainer" in (out / "accuracy.md").read_text()
    assert read_files(planned_data) == before and not (tmp_path / "users_results").exists()
    assert "recorded versions" not in (out / "accuracy.md").read_text()

    checkpoints = {file: file.stat().st_mtime_ns for file in (out / "runs").rglob("checkpoint_final.pth")}
    assert len(checkpoints) == 2
    assert main(command) == 0  # nothing is trained again
    assert checkpoints == {file: file.stat().st_mtime_ns for file in checkpoints}
    capsys.readouterr()
    assert main([*command, "--iterations", "4"]) == 2
    assert "holds another benchmark (iterations 2 there, 4 now" in capsys.readouterr().err
