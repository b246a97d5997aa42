"""`benchmark accuracy`: the user's folders stay as they are, bad input is told at once, and a run can be resumed."""

import json

import pandas as pd
import pytest

from ser_nnunet.benchmark.dataset_view import Source, choose_cases
from ser_nnunet.benchmark.run_provenance import sam_of, sam_record, software_notes
from ser_nnunet.benchmark.runs import Run
from ser_nnunet.benchmark.training_process import last_checkpoint
from ser_nnunet.cli import main
from tests.benchmark.conftest import CASES, NAME


@pytest.fixture(autouse=True)
def paths(preprocessed, tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_preprocessed", str(preprocessed))
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "users_results"))
    for name in ("nnUNet_raw", "SER_SAM_CHECKPOINT", "nnUNet_extTrainer"):
        monkeypatch.delenv(name, raising=False)


def snapshot(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_view_has_the_batch_and_the_cases_asked_for_and_the_users_folder_stays(preprocessed, tmp_path):
    before = snapshot(preprocessed)
    source = Source(preprocessed / NAME, "nnUNetPlans", "2d", 0, batch_size=7, train_cases=2)
    view = source.view(tmp_path, seed=3) / NAME
    plans = json.loads((view / "nnUNetPlans_b7.json").read_text())
    assert plans["plans_name"] == "nnUNetPlans_b7"
    assert plans["configurations"]["2d"]["batch_size"] == 7
    split = json.loads((view / "splits_final.json").read_text())[0]
    assert split["val"] == CASES[4:] and len(split["train"]) == 2 and set(split["train"]) < set(CASES[:4])
    linked, theirs = (
        {file.name for file in (root / "nnUNetPlans_2d").iterdir()} for root in (view, preprocessed / NAME)
    )
    assert linked == theirs
    (view / "nnUNetPlans_2d" / "unpacked.npy").touch()  # what nnU-Net might write beside the cases
    assert snapshot(preprocessed) == before


def test_fewer_cases_are_part_of_more_and_seeds_draw_their_own():
    cases = [f"case_{number:02d}" for number in range(40)]
    five, ten = choose_cases(cases, 5, seed=1), choose_cases(cases[::-1], 10, seed=1)
    assert set(five) < set(ten) and len(ten) == 10
    assert choose_cases(cases, 5, seed=2) != five
    assert choose_cases(cases, None, seed=1) == cases


def test_without_a_split_file_the_folds_are_nnunets(preprocessed, tmp_path):
    from nnunetv2.utilities.crossval_split import generate_crossval_split

    copy = tmp_path / NAME
    copy.mkdir()
    for file in (preprocessed / NAME).iterdir():
        if file.name != "splits_final.json":
            (copy / file.name).symlink_to(file)
    splits = Source(copy, "nnUNetPlans", "2d", 1).splits
    assert splits == [{key: list(map(str, part[key])) for key in part} for part in generate_crossval_split(CASES)]


def test_everything_that_would_stop_a_run_is_told_before_it_starts(tmp_path, capsys):
    command = ["benchmark", "accuracy", "-d", "1", "-tr", "SERTrainer", "NoSuchTrainer", "SERTrainer"]
    assert main([*command, "--epochs", "0", "-o", str(tmp_path / "out"), "-device", "cpu"]) == 2
    message = capsys.readouterr().err
    assert "--epochs must be at least 1" in message
    assert "SERTrainer named twice" in message
    assert "-tr NoSuchTrainer: Could not find" in message
    assert not (tmp_path / "out").exists()


def test_a_guided_trainer_without_sam_is_refused_before_the_others_train(tmp_path, capsys):
    command = ["benchmark", "accuracy", "-d", "1", "-tr", "nnUNetTrainer", "SERTrainerJoint", "--epochs", "3"]
    assert main([*command, "-o", str(tmp_path / "out"), "-device", "cpu"]) == 2
    assert "SERTrainerJoint need SAM: set SER_SAM_CHECKPOINT" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (["-d", "77"], "one folder Dataset077_* expected"),
        (["-c", "3d_fullres"], "no configuration 3d_fullres; it has 2d"),
        (["-f", "4"], "fold 4 doesn't exist: there are folds 0 to 0"),
        (["-p", "nnUNetOther"], "nnUNetOther.json is missing"),
        (["--train-cases", "9"], "the fold has 4 training cases"),
    ],
)
def test_data_that_is_not_there_is_named(changed, told, tmp_path, capsys):
    command = ["benchmark", "accuracy", "-d", "1", "-tr", "nnUNetTrainer", "--epochs", "1", *changed]
    assert main([*command, "-o", str(tmp_path / "out"), "-device", "cpu"]) == 2
    assert told in capsys.readouterr().err


def test_half_a_checkpoint_is_passed_over(tmp_path):
    import torch

    torch.save({"epoch": 3}, tmp_path / "checkpoint_best.pth")
    whole = (tmp_path / "checkpoint_best.pth").read_bytes()
    (tmp_path / "checkpoint_latest.pth").write_bytes(whole[: len(whole) // 2])
    assert last_checkpoint(tmp_path).name == "checkpoint_best.pth"
    torch.save({"epoch": 9}, tmp_path / "checkpoint_final.pth")
    assert last_checkpoint(tmp_path).name == "checkpoint_final.pth"
    assert last_checkpoint(tmp_path / "nothing") is None


def pretend_to_train(run, spec, _preprocessed, _progress):
    """What a training interrupted after its first epoch leaves behind."""
    run.folder.mkdir(parents=True, exist_ok=True)
    (run.folder / "run.json").write_text(json.dumps(spec | {"software": [spec["software"]]}))
    (run.folder / "curve.csv").write_text("epoch\n0\n")
    return False


def dummy_sam(file, seed):
    import torch

    from ser_nnunet.sam.dummy_sam import build_dummy_sam

    torch.save(build_dummy_sam(seed=seed).state_dict(), file)


def test_guided_trainers_can_be_added_later_but_not_with_another_sam(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Run, "carry_out", pretend_to_train)
    out, sam = tmp_path / "out", tmp_path / "sam.pth"
    command = ["benchmark", "accuracy", "-d", "1", "--epochs", "3", "-o", str(out), "-device", "cpu", "-tr"]
    assert main([*command, "nnUNetTrainer"]) == 2  # the pretended training has failed
    dummy_sam(sam, seed=0)
    for path, folder in ((sam, tmp_path), ("sam.pth", tmp_path), ("../sam.pth", out)):  # one file, three ways there
        monkeypatch.chdir(folder)
        monkeypatch.setenv("SER_SAM_CHECKPOINT", str(path))
        capsys.readouterr()
        assert main([*command, "nnUNetTrainer", "SERTrainer"]) == 2
        assert "2 of 2 runs failed" in capsys.readouterr().err
    runs = [Run(name, 0, out / "runs" / f"{name}_seed0") for name in ("nnUNetTrainer", "SERTrainer")]
    recorded = sam_record(str(sam))["sam_sha256"]
    assert [run.record["sam_sha256"] for run in runs] == [None, recorded]
    assert sam_of(runs) == f"sam.pth (SHA-256 {recorded[:12]})" and sam_of(runs[:1]) == "none"

    dummy_sam(sam, seed=1)
    assert main([*command, "SERTrainerJoint"]) == 2
    message = capsys.readouterr().err
    assert "guided by another SAM" in message and recorded[:12] in message and "SERTrainer_seed0" in message
    assert not (out / "runs" / "SERTrainerJoint_seed0").exists()
    assert main([*command, "nnUNetTrainer"]) == 2  # unguided runs don't mind
    assert "1 of 1 runs failed" in capsys.readouterr().err


def test_runs_of_different_versions_are_named_below_the_tables(tmp_path):
    runs = [Run("A", 0, tmp_path / "a"), Run("B", 0, tmp_path / "b")]
    for run in runs:
        pretend_to_train(run, {"software": "torch 2.5"}, None, None)
    assert software_notes(runs) == []
    (runs[1].folder / "run.json").write_text(json.dumps({"software": ["torch 2.5", "torch 2.6"]}))
    assert "A seed 0: torch 2.5; B seed 0: torch 2.5 then torch 2.6" in software_notes(runs)[0]
    (runs[0].folder / "run.json").write_text("{}")  # a run of before versions were kept
    assert "A seed 0: not recorded" in software_notes(runs)[0]


@pytest.mark.slow
def test_an_interrupted_benchmark_goes_on_and_ends_in_tables(preprocessed, tmp_path, monkeypatch, capsys):
    for name, count in (("nnUNet_n_proc_DA", "0"), ("nnUNet_def_n_proc", "1"), ("OMP_NUM_THREADS", "1")):
        monkeypatch.setenv(name, count)
    before, out = snapshot(preprocessed), tmp_path / "out"
    command = ["benchmark", "accuracy", "-d", "1", "-tr", "SERTrainerNoSAM", "nnUNetTrainer", "--epochs", "3"]
    command += ["--iterations", "2", "--batch-size", "3", "--save-every", "1", "-device", "cpu", "-o", str(out)]
    carry_out, interrupted = Run.carry_out, []

    def interrupt_once(run, spec, folder, progress):
        def stop(epochs):
            progress(epochs)
            if any(run.folder.rglob("checkpoint_*.pth")) and not interrupted:
                interrupted.append(run.trainer)
                raise KeyboardInterrupt

        return carry_out(run, spec, folder, stop)

    monkeypatch.setattr(Run, "carry_out", interrupt_once)
    assert main(command) == 130
    assert interrupted == ["SERTrainerNoSAM"] and not (out / "accuracy.csv").exists()
    assert main(command) == 0

    log = (out / "runs" / "SERTrainerNoSAM_seed0" / "train.log").read_text()
    assert "going on from checkpoint_" in log and log.count("Epoch 2") >= 1
    curves = pd.read_csv(out / "learning_curves.csv").groupby("trainer")["iterations"].apply(list).to_dict()
    assert curves == {"SERTrainerNoSAM": [2, 4, 6], "nnUNetTrainer": [2, 4, 6]}
    costs = pd.read_csv(out / "costs.csv").set_index("trainer")
    assert costs["batch_size"].tolist() == [3, 3] and costs.loc["nnUNetTrainer", "train_seconds"] > 0
    table = pd.read_csv(out / "accuracy.csv").set_index(["trainer", "metric"])
    evaluated = pd.read_csv(out / "evaluation" / "metrics_wide.csv").set_index(["method", "case"])
    assert table.loc[("nnUNetTrainer", "Dice"), "mean"] == evaluated.loc[("nnUNetTrainer", "case_4"), "Dice"]
    assert (out / "learning_curves.png").is_file() and "nnUNetTrainer" in (out / "accuracy.md").read_text()
    assert snapshot(preprocessed) == before and not (tmp_path / "users_results").exists()

    assert "recorded versions" not in (out / "accuracy.md").read_text()

    checkpoints = {file: file.stat().st_mtime_ns for file in (out / "runs").rglob("checkpoint_final.pth")}
    assert len(checkpoints) == 2
    assert main(command) == 0  # nothing is trained again
    assert checkpoints == {file: file.stat().st_mtime_ns for file in checkpoints}
    capsys.readouterr()
    assert main([*command, "--iterations", "4"]) == 2
    assert "holds another benchmark (iterations 2 there, 4 now" in capsys.readouterr().err
