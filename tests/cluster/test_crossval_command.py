"""`ser-nnunet crossval`: what can't work is told before anything is submitted, all at once, and nothing is written."""

import json
import os
import shutil
import stat
import subprocess
import sys

import pytest
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from ser_nnunet.cli import build_parser, main
from ser_nnunet.cluster.crossval_settings import parse_minutes, read_settings
from ser_nnunet.cluster.crossval_tasks import list_crossval, resolve_configuration
from ser_nnunet.commands.crossval import make_settings
from ser_nnunet.errors import UserError
from ser_nnunet.utils.locks import ExclusiveLock
from tests.cluster.trainings import DATASET, finish_training, plan_dataset, plans_with_cascade, settings_of

LOCAL = ["--cluster", "local", "-device", "cpu", "-tr", "SERTrainerNoSAM"]


@pytest.fixture
def planned(tmp_path, monkeypatch):
    plan_dataset(tmp_path, monkeypatch)
    monkeypatch.delenv("SER_SAM_CHECKPOINT", raising=False)
    return tmp_path


def refused(capsys, planned, *arguments):
    """Return the message of a command that must be refused with nothing written."""
    before = sorted(planned.rglob("*"))
    assert main(["crossval", "-d", "1", *arguments]) == 2
    assert sorted(planned.rglob("*")) == before
    message = capsys.readouterr().err
    assert "unexpected" not in message
    return message


def test_all_problems_are_told_at_once(planned, capsys):
    message = refused(
        capsys,
        planned,
        *("--cluster", "local", "-device", "cpu", "-tr", "SERTrainerNoSam", "--compare", "SERTrainer"),
        *("-c", "2d", "4d", "--predict", "imagesTs", "--time", "3d=1h"),
    )
    for part in ("-c 4d", "SERTrainerNoSAM", "SER_SAM_CHECKPOINT", "imagesTs doesn't exist", "--time 3d"):
        assert part in message, part


def test_trainers_of_nnunet_and_short_schedules_are_known(planned, capsys):
    """The short schedules' file has another name than their classes."""
    for trainer in ("nnUNetTrainer_5epochs", "SERTrainerNoSAM_100epochs"):
        assert main(["crossval", "-d", "1", *LOCAL, "-tr", trainer, "--dry-run"]) == 0
        assert f"-tr {trainer}" in capsys.readouterr().out


def test_a_dataset_that_is_not_planned_or_not_preprocessed(planned, capsys):
    assert "nnUNetv2_plan_and_preprocess" in refused(capsys, planned, *LOCAL, "-d", "77")
    shutil.rmtree(planned / "nnUNet_preprocessed" / DATASET / "nnUNetPlans_2d")
    assert "nnUNetv2_preprocess -d Dataset001_Tiny -c 2d" in refused(capsys, planned, *LOCAL)


def test_a_second_stage_needs_every_fold_of_the_first(planned, capsys):
    alone = refused(capsys, planned, *LOCAL, "-c", "3d_cascade_fullres")
    assert "lacks the folds 0, 1, 2, 3, 4" in alone
    some = refused(capsys, planned, *LOCAL, "-c", "3d_lowres", "3d_cascade_fullres", "-f", "0", "1")
    assert "lacks the folds 2, 3, 4" in some


def test_folds_that_the_splits_lack(planned, capsys):
    assert "-f 5 7: splits_final.json of Dataset001_Tiny has 5 folds" in refused(
        capsys, planned, *LOCAL, "-f", "0", "5", "7"
    )


def test_no_slurm_names_the_other_way(planned, capsys, monkeypatch):
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", str(planned))
    message = refused(capsys, planned, "-tr", "SERTrainerNoSAM")
    assert "no SLURM here" in message and "--cluster local" in message


def test_a_folder_that_cannot_be_written_and_a_full_disk(planned, capsys, monkeypatch):
    usage = shutil.disk_usage(planned)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage)
    assert "the disk is full" in refused(capsys, planned, *LOCAL)
    monkeypatch.undo()
    monkeypatch.setenv("nnUNet_preprocessed", str(planned / "nnUNet_preprocessed"))
    (planned / "file").touch()
    monkeypatch.setenv("nnUNet_results", str(planned / "file" / "results"))
    assert "can't be the output folder" in refused(capsys, planned, *LOCAL)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--time", "24h", "12h"], "--time: 2 values for all configurations and steps, one expected; CONFIG=VALUE"),
        (["--memory", "2d=8", "2d=16", "48"], "--memory: 2 values for 2d, one expected"),
        (["--slurm", "qos"], "--slurm qos: expected KEY=VALUE"),
        (["--watch"], "--watch and --html belong to --status"),
        (["--status"], "no cross-validation of Dataset001_Tiny has been started"),
    ],
)
def test_arguments_that_cannot_be_read(planned, capsys, arguments, part):
    assert part in refused(capsys, planned, *arguments)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--time", "soon"], "--time: 'soon' is no time such as 24h"),
        (["--time", "99999999999d"], "--time: '99999999999d' is not within 1m to 365d"),
        (["--time", "2d=366d"], "--time: '366d' is not within 1m to 365d"),
        (["--time", "0m"], "--time: '0m' is not within 1m to 365d"),
        (["--memory", "2d=much"], "--memory: 'much' is no number"),
        (["--memory", "2d=nan"], "--memory: nan is not within 0.1 to 100000"),
        (["--memory", "1e400"], "--memory: 1e400 is not within 0.1 to 100000"),
        (["--memory", "24", "2d=-5"], "--memory: -5 is not within 0.1 to 100000"),
        (["--memory", "0"], "--memory: 0 is not within 0.1 to 100000"),
    ],
)
def test_times_and_memory_outside_their_limits(planned, capsys, arguments, part):
    with pytest.raises(SystemExit) as stopped:
        main(["crossval", "-d", "1", *LOCAL, *arguments])
    assert stopped.value.code == 2 and part in capsys.readouterr().err


def test_time_and_memory_may_be_given_for_all_and_for_some(planned):
    arguments = ["--time", "3d_lowres=48h", "24h", "--memory", "2d=16", "48.5"]
    settings = make_settings(build_parser("crossval").parse_args(["crossval", "-d", "1", *LOCAL, *arguments]), DATASET)
    assert settings.minutes == {"3d_lowres": 2880, "": 1440} and settings.memory_gb == {"2d": 16, "": 48.5}


def test_a_second_command_is_refused_while_one_is_at_work(planned, capsys):
    folder = planned / "nnUNet_results" / DATASET / "crossval"
    folder.mkdir(parents=True)
    with ExclusiveLock(folder / ".command.lock", "test"):
        assert main(["crossval", "-d", "1", *LOCAL]) == 2
    assert "crossval of Dataset001_Tiny is running already (process" in capsys.readouterr().err


def test_a_dry_run_shows_the_plan_and_writes_nothing(planned, capsys):
    before = sorted(planned.rglob("*"))
    wanted = ["-c", "2d", "3d_lowres", "3d_cascade_fullres", "--dry-run"]
    assert main(["crossval", "-d", "1", *LOCAL, *wanted]) == 0
    shown = capsys.readouterr().out
    assert sorted(planned.rglob("*")) == before
    first, second, third = shown.split("wave ")[1:4]
    assert "2d (0, 1, 2, 3, 4)" in first and "3d_lowres (0, 1, 2, 3, 4)" in first
    assert "3d_cascade_fullres (0, 1, 2, 3, 4)" in second and "3d_lowres/fold_4" in second
    assert "nnUNetv2_find_best_configuration" in third
    assert "nnUNetv2_train Dataset001_Tiny 2d 3 -tr SERTrainerNoSAM -p nnUNetPlans --npz --c -device cpu" in first


@pytest.mark.slow
def test_nothing_is_trained_twice(planned, capsys):
    """All folds are there already: what is left are the steps after them, which fail here for want of real files."""
    for fold in range(2):
        model = planned / "nnUNet_results" / DATASET / "SERTrainerNoSAM__nnUNetPlans__2d"
        finish_training(model / f"fold_{fold}", dice=0.5 + fold / 4)
    assert main(["crossval", "-d", "1", *LOCAL, "-f", "0", "1"]) == 1
    shown = capsys.readouterr().out
    assert "5 tasks: 2 done, 0 under way, 3 to start" in shown
    assert "best/SERTrainerNoSAM failed: exit status" in shown and "evaluate/crossval: held up" in shown
    assert "done 0.500" in shown and "done 0.750" in shown
    assert main(["crossval", "-d", "1", "--status"]) == 1  # from the disk, without the arguments
    assert "done 0.750" in capsys.readouterr().out


def test_settings_are_read_as_they_were_written(tmp_path, monkeypatch):
    plan_dataset(tmp_path, monkeypatch)
    settings = settings_of(minutes={"": 60, "2d": 30}, slurm={"2d": {"qos": "long"}}, memory_gb={"": 8.0})
    settings.write()
    assert read_settings(DATASET) == settings
    file = settings.folder / "settings.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "folds": 3}))
    assert main(["crossval", "-d", "1", "--status"]) == 2


def test_resources_by_configuration_and_the_defaults(tmp_path, monkeypatch):
    plans = plan_dataset(tmp_path, monkeypatch)
    settings = settings_of(
        ("2d", "3d_fullres"), minutes={"3d_fullres": 99}, slurm={"": {"qos": "a"}, "2d": {"mem": "5G"}}, device="cuda"
    )
    tasks = list_crossval(settings, plans).tasks()
    flat, deep = (tasks[f"SERTrainerNoSAM__nnUNetPlans__{name}/fold_0"].resources for name in ("2d", "3d_fullres"))
    assert (flat.minutes, flat.memory_gb, flat.slurm, flat.gpus) == (24 * 60, 24.0, {"qos": "a", "mem": "5G"}, 1)
    assert (deep.minutes, deep.memory_gb, deep.slurm) == (99, 48.0, {"qos": "a"})
    assert tasks["best/SERTrainerNoSAM"].resources.gpus == 0


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("24h", 1440), ("90m", 90), ("2d", 2880), ("12:30", 750), ("12:30:00", 750), ("1-12:00:00", 2160)],
)
def test_times(text, minutes):
    assert parse_minutes(text) == minutes


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="permissions don't hold for root")
def test_a_folder_without_permission(planned, capsys):
    results = planned / "nnUNet_results"
    results.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        assert "permissions" in refused(capsys, planned, *LOCAL)
    finally:
        results.chmod(stat.S_IRWXU)


def test_configurations_inherit_as_in_nnunet():
    plans = plans_with_cascade()
    plans["configurations"]["own"] = {"inherits_from": "3d_cascade_fullres", "batch_size": 7}
    manager = PlansManager(plans)
    for name in plans["configurations"]:
        ours, theirs = resolve_configuration(plans, name), manager.get_configuration(name)
        assert ours == theirs.configuration and ours.get("previous_stage") == theirs.previous_stage_name
    plans["configurations"]["2d"]["inherits_from"] = "2d"
    for name, reason in (("2d", "2d inherits from itself"), ("4d", "no configuration 4d, there are 2d, 3d_lowres")):
        with pytest.raises(UserError, match=reason):
            resolve_configuration(plans, name)


def test_a_look_at_a_crossvalidation_does_not_import_torch(planned):
    settings_of().write()
    code = (
        "import sys\nfrom ser_nnunet.cli import main\nstatus = main(['crossval', '-d', '1', '--status'])\n"
        "print('IMPORTED', status, sorted({'torch', 'nnunetv2', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "not submitted" in done.stdout and done.stdout.splitlines()[-1] == "IMPORTED 0 []", done.stdout + done.stderr
