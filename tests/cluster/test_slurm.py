"""Jobs on a real SLURM of one node; skipped where it can't be started."""

import os
import time
from dataclasses import replace

import pytest

from tests.slurm_suite.slurm_cluster import SlurmCluster, why_not

pytest.importorskip("submitit", reason="pip install 'ser-nnunet[cluster]'")

from ser_nnunet.cluster import slurm_engine
from ser_nnunet.cluster.crossval_settings import Resources
from ser_nnunet.cluster.slurm_queue import read_queue, refused_submission, sbatch_options, time_limits
from ser_nnunet.cluster.task_record import TaskRecord
from ser_nnunet.cluster.tasks import Task

pytestmark = [pytest.mark.slow, pytest.mark.skipif(why_not() is not None, reason=why_not() or "")]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    found = SlurmCluster(tmp_path_factory.mktemp("slurm"))
    found.start()
    before = {name: os.environ.get(name) for name in found.environment}
    os.environ.update(found.environment)
    yield found
    found.stop()
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})


def task(key, script, *needs, checkpoints=None):
    group, _, name = key.partition("/")
    return Task(key, group, name, ("sh", "-c", script), "", Resources(0, 1, 5, 0.1), needs, checkpoints)


class Jobs:
    """Submitted tasks."""

    def __init__(self, folder, *tasks):
        self.folder, self.tasks = folder, tasks
        self.ids = slurm_engine.submit(tasks, {}, folder, lambda line: None)

    def queue(self):
        return {f"{group}/{name}": queued for (group, name), queued in read_queue(self.folder).items()}

    def attempts(self, key):
        return TaskRecord(self.folder / "tasks" / key).attempts()

    def wait(self, condition):
        end = time.monotonic() + 120
        while not condition():
            assert time.monotonic() < end, self.queue()
            time.sleep(0.1)

    def outcomes(self):
        self.wait(lambda: not self.queue())
        return {each.key: [attempt.outcome for attempt in self.attempts(each.key)] for each in self.tasks}


def test_a_failing_task_stops_no_others_and_what_needs_it_is_never_run(cluster, tmp_path):
    folds = [task("model/0", "true"), task("model/1", "exit 1")]
    jobs = Jobs(tmp_path, *folds, task("best/x", "true", "model/0", "model/1"), task("good/x", "true", "model/0"))
    assert jobs.ids["model/1"] == jobs.ids["model/0"].replace("_0", "_1"), "one array"
    assert jobs.outcomes() == {"model/0": ["done"], "model/1": ["failed"], "best/x": [], "good/x": ["done"]}


def test_a_signal_before_the_time_limit_requeues_the_job_which_resumes(cluster, tmp_path):
    fold = tmp_path / "fold_0"
    fold.mkdir()
    script = f"test -e {fold}/checkpoint_latest.pth && exit; touch {fold}/checkpoint_latest.pth; echo begun; sleep 60"
    jobs = Jobs(tmp_path, task("model/0", script, checkpoints=str(fold)), task("best/x", "true", "model/0"))
    jobs.wait((fold / "checkpoint_latest.pth").is_file)
    cluster.command("scancel", "--signal=USR2", jobs.ids["model/0"])
    assert jobs.outcomes() == {"model/0": ["stopped", "done"], "best/x": ["done"]}
    first, second = jobs.attempts("model/0")
    assert first.progressed and first.job == second.job


def test_forty_tasks_are_one_job_which_the_queue_itself_identifies(cluster, tmp_path):
    cluster.command("scontrol", "update", "PartitionName=test", "State=DOWN")
    try:
        jobs = Jobs(tmp_path, *[task(f"model/{fold}", "true") for fold in range(40)])
        assert len({job.partition("_")[0] for job in jobs.ids.values()}) == 1
        found = jobs.queue()
        assert {key: queued.job for key, queued in found.items()} == jobs.ids
        assert {queued.state for queued in found.values()} == {"PENDING"}
        other = Jobs(tmp_path / "other", task("model/0", "true"))
        assert list(other.queue()) == ["model/0"] and len(jobs.queue()) == 40, "two folders are told apart"
        cluster.command("scancel", *jobs.ids.values(), *other.ids.values())
    finally:
        cluster.command("scontrol", "update", "PartitionName=test", "State=UP")


def test_jobs_that_slurm_would_refuse_are_refused_before(cluster):
    good = task("model/0", "true")
    assert refused_submission(sbatch_options(good)) is None
    for options, part in (({"partition": "nowhere"}, "partition"), ({"mem": "900G"}, "node configuration")):
        resources = replace(good.resources, slurm=options)
        assert part in refused_submission(sbatch_options(replace(good, resources=resources)))
    assert time_limits() == {"": 48 * 60, "test": 48 * 60, "urgent": 60}
    cluster.command("scontrol", "update", "PartitionName=test", "State=DRAIN")
    try:
        assert refused_submission(sbatch_options(good)) is None, "a job would be accepted, and wait"
    finally:
        cluster.command("scontrol", "update", "PartitionName=test", "State=UP")
