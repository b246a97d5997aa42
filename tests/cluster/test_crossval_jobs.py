"""Jobs of an earlier command with other options: they pass for nobody else's, and `--cancel` ends them all."""

import os
from dataclasses import replace
from time import time

import pytest

from ser_nnunet.cli import main
from ser_nnunet.cluster.cross_validation import cancel, run
from ser_nnunet.cluster.crossval_jobs import jobs_of, queue_of, require_same_settings
from ser_nnunet.cluster.crossval_settings import read_settings
from ser_nnunet.cluster.crossval_tasks import list_crossval
from ser_nnunet.cluster.slurm_queue import comment_of
from ser_nnunet.cluster.task_record import Submission, TaskRecord
from ser_nnunet.errors import UserError
from tests.cluster.trainings import DATASET, plan_dataset, settings_of

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX shell")
MODEL = "SERTrainerNoSAM__nnUNetPlans__2d"


@pytest.fixture
def crossval(tmp_path, monkeypatch):
    """A cross-validation on a SLURM that is three scripts: what it has in its queue lies in a file."""
    plans = plan_dataset(tmp_path, monkeypatch)
    programs = tmp_path / "programs"
    programs.mkdir()
    answers = {"squeue": f"cat {tmp_path}/queue", "scancel": f"echo $@ >> {tmp_path}/cancelled"}
    for name in ("squeue", "scancel", "sinfo", "sbatch"):
        (programs / name).write_text(f"#!/bin/sh\n{answers.get(name, 'true')}\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "queue").touch()
    found = list_crossval(settings_of(engine="slurm"), plans)
    found.settings.write()
    return found


def put_into_queue(tmp_path, crossval, **groups):
    """Write jobs, a group with its names each, and note their submission."""
    lines = []
    for number, (group, names) in enumerate(groups.items(), 17):
        comment = comment_of(crossval.settings.folder, group, names)
        for index, name in enumerate(names):
            lines.append(f"{number}_{index}|PENDING|1:00|Priority||{comment}")
            place = f"{group}/fold_{name}" if "Plans" in group else group.replace("__", "/")
            folder = crossval.settings.folder / "tasks" / place
            folder.mkdir(parents=True, exist_ok=True)
            TaskRecord(folder).submit(Submission("slurm", time(), f"{number}_{index}"))
    lines.append(f"99|RUNNING|1:00|None|node7|{comment_of(tmp_path, 'another_folder', ['0'])}")
    (tmp_path / "queue").write_text("\n".join(lines) + "\n")


def with_options(crossval, **changes):
    return replace(crossval, settings=replace(crossval.settings, **changes))


def test_the_same_options_again_join_what_is_in_the_queue(crossval, tmp_path):
    put_into_queue(tmp_path, crossval, **{MODEL: ("0", "1"), "best__SERTrainerNoSAM": ("best",)})
    jobs = jobs_of(crossval.settings)
    require_same_settings(with_options(crossval, minutes={"": 60}), jobs)  # more time is the same work
    queue = queue_of(crossval, jobs)
    assert {key: queued.job for key, queued in queue.items()} == {
        f"{MODEL}/fold_0": "17_0",
        f"{MODEL}/fold_1": "17_1",
        "best/SERTrainerNoSAM": "18_0",
    }


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"configurations": ("3d_fullres",)}, "-c 2d, now 3d_fullres"),
        ({"trainer": "nnUNetTrainer"}, "-tr SERTrainerNoSAM, now nnUNetTrainer"),
        ({"predict": "/images"}, "--predict none, now /images"),
    ],
)
def test_jobs_of_other_options_are_refused_although_their_steps_have_the_same_names(crossval, tmp_path, changes, part):
    put_into_queue(tmp_path, crossval, best__SERTrainerNoSAM=("best",))
    with pytest.raises(UserError) as refused:
        require_same_settings(with_options(crossval, **changes), jobs_of(crossval.settings))
    assert "1 job of an earlier command" in str(refused.value) and part in str(refused.value)
    assert f"ser-nnunet crossval -d {DATASET} --cancel" in str(refused.value)


def test_a_command_with_other_options_changes_nothing(crossval, tmp_path):
    pytest.importorskip("submitit", reason="pip install 'ser-nnunet[cluster]'")
    put_into_queue(tmp_path, crossval, **{MODEL: ("0", "1")})
    with pytest.raises(UserError, match=r"2 jobs of an earlier command.*-tr SERTrainerNoSAM, now nnUNetTrainer"):
        run(replace(crossval.settings, trainer="nnUNetTrainer"), print)
    assert read_settings(DATASET) == crossval.settings, "what --status and --cancel look at"


def test_cancel_ends_all_jobs_of_the_folder_whatever_their_settings(crossval, tmp_path, capsys):
    put_into_queue(tmp_path, crossval, other__nnUNetPlans__2d=("0", "1"))
    cancel(crossval)
    assert (tmp_path / "cancelled").read_text() == "17_0 17_1\n"
    assert "2 jobs cancelled" in capsys.readouterr().out
    record = TaskRecord(crossval.settings.folder / "tasks" / "other__nnUNetPlans__2d" / "fold_1")
    assert record.submission().cancelled


def test_a_local_command_after_slurm_s_sees_what_is_still_in_the_queue(crossval, tmp_path, monkeypatch):
    put_into_queue(tmp_path, crossval, **{MODEL: ("0",)})
    local = replace(crossval.settings, engine="local")
    assert jobs_of(local) == {}, "SLURM isn't asked where it was never used"
    (crossval.settings.folder / "submitit").mkdir()
    assert list(jobs_of(local)) == [(MODEL, "0")]
    monkeypatch.setenv("PATH", str(tmp_path))
    assert jobs_of(local) == {}
    assert main(["crossval", "-d", "1", "--status"]) == 2, "SLURM's own jobs can't be told without it"
