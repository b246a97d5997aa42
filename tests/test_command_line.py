"""The command line: it imports late, prints only what a shell can read, and says how to fix what is missing."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ser_nnunet.cli import COMMANDS, main
from ser_nnunet.nnunet.trainers import trainers_folder
from ser_nnunet.sam.dummy_sam import build_dummy_sam
from tests.training.teachers import write_teacher


def test_help_imports_neither_torch_nor_sam():
    code = (
        "import sys\nfrom ser_nnunet.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print('IMPORTED', sorted({'torch', 'segment_anything', 'nnunetv2'} & set(sys.modules)))"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip().endswith("IMPORTED []")
    assert all(name in output for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_help_page(name, capsys):
    with pytest.raises(SystemExit) as stop:
        main([name, "--help"])
    assert stop.value.code == 0
    assert "usage: ser-nnunet " + name in capsys.readouterr().out


def test_env_prints_one_line_that_a_shell_can_read(capsys, monkeypatch):
    monkeypatch.delenv("nnUNet_extTrainer", raising=False)
    assert main(["env"]) == 0
    captured = capsys.readouterr()
    shell = subprocess.run(
        ["sh", "-c", f'{captured.out}printf %s "$nnUNet_extTrainer"'], capture_output=True, text=True, check=True
    )
    assert captured.out.count("\n") == 1 and captured.err == ""
    assert Path(shell.stdout) == trainers_folder()
    assert (trainers_folder() / "SERTrainer.py").is_file()


@pytest.fixture
def ready(tmp_path, monkeypatch):
    """Everything in place: nnU-Net's folders, the trainers and a SAM."""
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    torch.save(build_dummy_sam().state_dict(), tmp_path / "sam.pth")
    monkeypatch.setenv("SER_SAM_CHECKPOINT", str(tmp_path / "sam.pth"))
    monkeypatch.setenv("nnUNet_extTrainer", str(trainers_folder()))
    return tmp_path


def row(output, subject):
    return next(line for line in output.splitlines() if line.startswith(subject))


def test_check_passes_when_nothing_is_missing(ready, capsys):
    assert main(["check"]) == 0
    output = capsys.readouterr().out
    assert "2 blocks of 32, 256 px" in row(output, "SER_SAM_CHECKPOINT")
    assert (
        "missing" not in output
        and "can train guided by SAM  yes  nnUNetv2_train DATASET_ID 2d 0 -tr SERTrainer " in output
    )
    assert "SERTrainerNoSAM, SERTrainerNoSAMDoubleBatch, SERTrainerPaper, SERTrainerSAMDistill" in row(
        output, "nnU-Net finds the trainers"
    )


@pytest.mark.slow
def test_check_prints_nothing_but_its_table(ready):
    command = [str(Path(sys.executable).parent / "ser-nnunet"), "check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Python ")


def test_check_lists_all_that_is_missing_and_how_to_fix_it(ready, capsys, monkeypatch):
    monkeypatch.delenv("nnUNet_preprocessed")
    monkeypatch.setenv("nnUNet_results", str(ready / "absent"))
    monkeypatch.delenv("nnUNet_extTrainer")
    (ready / "sam.pth").write_bytes(b"half a download")
    assert main(["check", "-tr", "SERTrainer"]) == 1
    output = capsys.readouterr().out
    for subject in ("nnUNet_preprocessed", "nnUNet_results", "nnU-Net finds SERTrainer", "SER_SAM_CHECKPOINT"):
        assert "  missing  " in row(output, subject)
    assert "4 missing. How to fix it:" in output
    for remedy in (
        "export nnUNet_preprocessed=",
        f"mkdir -p {ready / 'absent'}",
        'eval "$(ser-nnunet env)"',
        "SERTrainerNoSAM",
    ):
        assert remedy in output


def test_a_training_can_start_without_nnunet_raw_which_it_does_not_read(ready, capsys, monkeypatch):
    monkeypatch.delenv("nnUNet_raw")
    for command in (["check"], ["check", "-tr", "SERTrainerNoSAM"]):
        assert main(command) == 0
        expected = "  note     not set: converting, planning and preprocessing need it, training and prediction do not"
        assert expected in row(capsys.readouterr().out, "nnUNet_raw")


def test_check_reads_the_checkpoint_as_thoroughly_as_training_does(ready, capsys):
    weights = build_dummy_sam().state_dict()
    del weights["mask_decoder.iou_token.weight"]
    torch.save(weights, ready / "sam.pth")
    assert main(["check", "-tr", "SERTrainer"]) == 1
    assert "missing mask_decoder.iou_token.weight" in capsys.readouterr().out


def test_check_asks_for_sam_only_where_it_guides(ready, monkeypatch):
    monkeypatch.delenv("SER_SAM_CHECKPOINT")
    assert main(["check", "-tr", "SERTrainer"]) == 1
    assert main(["check", "-tr", "SERTrainerNoSAM"]) == 0
    assert main(["check", "-tr", "nnUNetTrainer"]) == 0


def test_check_says_for_each_purpose_what_it_lacks(ready, capsys, monkeypatch):
    monkeypatch.delenv("SER_SAM_CHECKPOINT")
    assert main(["check"]) == 0, "training without SAM can start"
    output = capsys.readouterr().out
    assert "  yes  " in row(output, "can predict") and "  yes  " in row(output, "can train without SAM")
    assert row(output, "can train guided by SAM").endswith("  no")
    assert row(output, "  SER_SAM_CHECKPOINT: ").endswith("or train with -tr SERTrainerNoSAM")
    monkeypatch.delenv("nnUNet_preprocessed")
    assert main(["check"]) == 1
    output = capsys.readouterr().out
    assert "  yes  " in row(output, "can predict") and row(output, "can train without SAM").endswith("  no")


def test_check_suggests_trainers_for_a_misspelt_name(ready, capsys):
    assert main(["check", "-tr", "SERTrainerNoSam"]) == 1
    assert "is it misspelt? There are SERTrainerNoSAM, " in row(
        capsys.readouterr().out, "  nnU-Net finds SERTrainerNoSam"
    )
    assert main(["check", "-tr", "nnUNetTrainerAdam1e3"]) == 1
    assert "nnUNetTrainerAdam1en3" in row(capsys.readouterr().out, "  nnU-Net finds nnUNetTrainerAdam1e3")


@pytest.mark.parametrize("variable", ["set", "unset"])
def test_check_says_of_an_unknown_trainer_that_there_is_none(ready, capsys, monkeypatch, variable):
    if variable == "unset":
        monkeypatch.delenv("nnUNet_extTrainer")
    assert main(["check", "-tr", "Foo"]) == 1
    output = capsys.readouterr().out
    assert "missing  there is no trainer of this name" in row(output, "nnU-Net finds Foo")
    assert "add its folder to nnUNet_extTrainer" in row(output, "  nnU-Net finds Foo") and "eval" not in output


def test_check_finds_a_trainer_that_is_written_in_lower_case(ready, capsys):
    assert main(["check", "-tr", "sertrainer"]) == 1
    assert "There are SERTrainer, " in row(capsys.readouterr().out, "  nnU-Net finds sertrainer")


def test_check_advises_the_variable_for_a_short_schedule_of_sers(ready, capsys, monkeypatch):
    """Its file has another name than its class."""
    monkeypatch.delenv("nnUNet_extTrainer")
    assert main(["check", "-tr", "SERTrainerNoSAM_100epochs"]) == 1
    assert 'eval "$(ser-nnunet env)"' in row(capsys.readouterr().out, "  nnU-Net finds SERTrainerNoSAM_100epochs")


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a file system without space")
def test_check_tells_who_trains_without_a_gpu_how_threads_wait(ready, capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    main(["check", "-tr", "nnUNetTrainer"])
    assert "export OMP_WAIT_POLICY=PASSIVE" in row(capsys.readouterr().out, "GPU")
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    main(["check", "-tr", "nnUNetTrainer"])
    assert "OMP_WAIT_POLICY" not in capsys.readouterr().out


def test_check_refuses_a_folder_that_cannot_be_written(ready, capsys, monkeypatch):
    monkeypatch.setenv("nnUNet_results", "/proc")
    assert main(["check"]) == 1
    assert "missing  /proc can't be written" in row(capsys.readouterr().out, "nnUNet_results")


def test_check_reads_the_teacher_where_the_trainer_has_one(ready, capsys, monkeypatch):
    monkeypatch.delenv("SER_SAM_CHECKPOINT")
    monkeypatch.delenv("SER_TEACHER", raising=False)
    assert main(["check", "-tr", "SERTrainerDistill"]) == 1
    output = capsys.readouterr().out
    assert "missing  not set" in row(output, "SER_TEACHER") and "export SER_TEACHER=$nnUNet_results" in output
    monkeypatch.setenv("SER_TEACHER", str(ready / "model"))
    assert main(["check", "-tr", "SERTrainerDistill"]) == 1
    assert f"{ready / 'model'}: no fold_*/checkpoint_final.pth found" in row(capsys.readouterr().out, "SER_TEACHER")
    write_teacher(ready / "model", fold=2)
    assert main(["check", "-tr", "SERTrainerDistill"]) == 0
    expected = f"{ready / 'model'} (nnUNetTrainer on Dataset001_Tiny, finished folds: 2)"
    assert expected in row(capsys.readouterr().out, "SER_TEACHER")


def test_check_refuses_a_teacher_whose_weights_dont_fit_its_plan(ready, capsys, monkeypatch):
    monkeypatch.setenv("SER_TEACHER", str(write_teacher(ready / "model", network=torch.nn.Linear(2, 2))))
    assert main(["check", "-tr", "SERTrainerDistill"]) == 1
    assert "doesn't fit the network that nnUNetTrainer builds" in row(capsys.readouterr().out, "SER_TEACHER")
