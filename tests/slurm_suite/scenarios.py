"""The scenarios: what happens to trainings on a cluster, and what must be there afterwards."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress

from tests.slurm_suite.place import EPOCHS, FAILING, FAST, SLOW, STOCK, SlurmWorkplace
from tests.slurm_suite.scenario import SMALL, Scenario, lost_epochs
from tests.slurm_suite.slurm_cluster import SlurmCluster

FOLDS = range(5)
KILLS = 10
RESUMED = f"{SLOW}__nnUNetPlans__2d/fold_0"


def whole_crossval(place: SlurmWorkplace, cluster: SlurmCluster) -> None:
    """All folds of 2d and of the cascade, best configuration, prediction, evaluation, report."""
    scenario = Scenario(place, "crossval", cluster.environment)
    wanted = ("-c", "2d", "3d_lowres", "3d_cascade_fullres", "-tr", FAST, "--predict", "imagesTs", *SMALL)
    scenario.command(*wanted, "--dry-run")
    scenario.command(*wanted)
    scenario.wait_for_epoch(f"{FAST}__nnUNetPlans__2d/fold_1", 1)
    scenario.command("--status", status=None)
    scenario.wait(lambda: not cluster.command("squeue", "-h").strip(), "an empty queue")
    shown = scenario.command("--status", "--html")
    assert "21 tasks: 21 done" in shown
    lowres = [scenario.attempts(f"{FAST}__nnUNetPlans__3d_lowres/fold_{fold}")[-1] for fold in FOLDS]
    cascade = [scenario.attempts(f"{FAST}__nnUNetPlans__3d_cascade_fullres/fold_{fold}")[0] for fold in FOLDS]
    assert max(each.ended or 0 for each in lowres) <= min(each.started for each in cascade)
    results = scenario.results / "crossval" / "results"
    assert (results / "evaluation_test" / "report.html").is_file()
    assert len(list((results / f"{FAST}__nnUNetPlans" / "predictions" / "final").glob("*.nii.gz"))) == 2
    assert "21 done, 0 under way, 0 to start" in scenario.command(*wanted)
    assert not cluster.command("squeue", "-h").strip(), "what is done must not be submitted again"


def local_queue(place: SlurmWorkplace, cluster: SlurmCluster) -> None:
    """The same for 2d on this machine, without SLURM."""
    scenario = Scenario(place, "local", {})
    wanted = ("--cluster", "local", "-c", "2d", "-tr", FAST, "--predict", "imagesTs", *SMALL)
    assert "11 tasks: 11 done" in scenario.command(*wanted)
    attempts = [scenario.attempts(f"{FAST}__nnUNetPlans__2d/fold_{fold}")[0] for fold in FOLDS]
    ends = [each.ended or 0 for each in attempts]
    assert all(end <= following.started for end, following in zip(ends, attempts[1:], strict=False)), "two at a time"


def time_limit(place: SlurmWorkplace, cluster: SlurmCluster) -> None:
    """A time limit in the middle of a training: requeued, resumes at its epoch, the log is whole."""
    scenario = Scenario(place, "time_limit", {**cluster.environment, "SER_TEST_EPOCH_SECONDS": "4"})
    scenario.command("-c", "2d", "-f", "0", "-tr", SLOW, *SMALL, "--time", "4m")
    scenario.wait(lambda: len(scenario.attempts(RESUMED)) > 1, "a requeued job")
    scenario.command("--status")
    scenario.wait_done(RESUMED)
    scenario.command("--status")
    check_resumed(scenario, "time limit")


def signals(place: SlurmWorkplace, cluster: SlurmCluster) -> None:
    """`scancel --signal`, then `kill -9` of the training, then of slurmd, each in the middle of an epoch."""
    scenario = Scenario(place, "signals", cluster.environment)
    scenario.command("-c", "2d", "-f", "0", "-tr", SLOW, *SMALL, "--time", "60m")
    scenario.wait_for_epoch(RESUMED, 10)
    cluster.command("scancel", "--signal=USR2", scenario.attempts(RESUMED)[-1].job)
    scenario.wait(lambda: len(scenario.attempts(RESUMED)) == 2, "the requeued job")
    scenario.wait_for_epoch(RESUMED, 25)
    os.kill(scenario.child_of(RESUMED), signal.SIGKILL)
    scenario.wait(lambda: len(scenario.attempts(RESUMED)) == 3, "the training that was started again")
    assert scenario.attempts(RESUMED)[-1].job == scenario.attempts(RESUMED)[1].job, "in the same job"
    scenario.wait_for_epoch(RESUMED, 45)
    cluster.kill("slurmd")
    time.sleep(3)
    cluster.spawn("slurmd", "-D")
    scenario.wait_done(RESUMED)
    scenario.command("--status")
    check_resumed(scenario, "scancel --signal=USR2, kill -9 of the training, kill -9 of slurmd")


def preemption(place: SlurmWorkplace, cluster: SlurmCluster) -> None:
    """A job with a higher priority takes the node: the training is stopped, requeued, and resumes afterwards."""
    scenario = Scenario(place, "preemption", cluster.environment)
    scenario.command("-c", "2d", "-f", "0", "-tr", SLOW, *SMALL, "--partition", "test")
    scenario.wait_for_epoch(RESUMED, 15)
    cpus = f"--cpus-per-task={cluster.cpus}"
    cluster.command("sbatch", "-p", "urgent", cpus, "-o", "/dev/null", "--wrap", "sleep 15")
    scenario.wait(lambda: scenario.attempts(RESUMED)[-1].outcome == "stopped", "the training to be stopped")
    scenario.wait(lambda: len(scenario.attempts(RESUMED)) == 2, "the requeued job")
    scenario.wait_done(RESUMED)
    scenario.command("--status")
    check_resumed(scenario, "preemption")


def check_resumed(scenario: Scenario, what: str) -> None:
    scenario.check_whole(RESUMED)
    starts, lost = scenario.progress(RESUMED).starts, lost_epochs(scenario.results / RESUMED)
    assert len(starts) > 1 and all(start > 0 for start in starts[1:]), f"{what}: started at the epochs {starts}"
    print(f"{what}: started at the epochs {starts}, finished epochs trained again {lost}\n", flush=True)


def failing_fold(place: SlurmWorkplace, cluster: SlurmCluster) -> None:
    """One fold fails: the others are trained, what needs it isn't, and both are said; then it is repaired."""
    scenario = Scenario(place, "failing", cluster.environment)
    scenario.command("-c", "2d", "-f", "0", "1", "-tr", FAILING, *SMALL)
    scenario.wait(lambda: not cluster.command("squeue", "-h").strip(), "an empty queue")
    shown = scenario.command("--status", status=1)
    assert "this fold fails on purpose" in shown and f"held up (by {FAILING}__nnUNetPlans__2d/fold_1)" in shown
    assert scenario.files(f"{FAILING}__nnUNetPlans__2d/fold_0").is_done()
    (scenario.results.parent / "repaired").touch()
    scenario.command("--retry-failed")
    scenario.wait(lambda: not cluster.command("squeue", "-h").strip(), "an empty queue")
    assert "5 tasks: 5 done" in scenario.command("--status")
    assert len(scenario.attempts(f"{FAILING}__nnUNetPlans__2d/fold_0")) == 1, "the finished fold was trained again"


def two_commands(place: SlurmWorkplace, cluster: SlurmCluster) -> None:
    """The command interrupted at any moment and given again, then twice at once: every training has one job."""
    scenario = Scenario(place, "two", cluster.environment)
    wanted = ("-c", "2d", "-tr", FAST, *SMALL)
    cluster.command("scontrol", "update", "PartitionName=test", "State=DOWN")  # nothing starts
    generator = random.Random(0)
    for _ in range(3):
        process = scenario.start(*wanted)
        with suppress(subprocess.TimeoutExpired):
            process.wait(generator.uniform(5, 40))
        process.kill()
        process.communicate()
    both = [scenario.start(*wanted) for _ in range(2)]
    outputs = [process.communicate()[0] for process in both]
    print("\n".join(f"$ ser-nnunet crossval -d 4 ...   (one of two)\n{scenario.shorten(text)}" for text in outputs))
    assert any(process.returncode == 0 for process in both)
    jobs = cluster.command("squeue", "-h", "-r", "-o", "%j %k").splitlines()
    print(f"jobs in the queue: {len(jobs)}; expected 8: five folds, best, evaluate, report\n")
    assert len(jobs) == 8, jobs
    scenario.command("--cancel")
    assert "cancelled" in scenario.command("--status")


def random_kills(place: SlurmWorkplace, cluster: SlurmCluster) -> None:
    """Ten `kill -9` at random moments, of the training or of the command, which is then given again."""
    for trainer in (SLOW, STOCK):
        kill_at_random(Scenario(place, f"kills_{trainer}", {}), trainer)


def kill_at_random(scenario: Scenario, trainer: str) -> None:
    generator = random.Random(1)
    key = f"{trainer}__nnUNetPlans__2d/fold_0"
    wanted = ("--cluster", "local", "-c", "2d", "-f", "0", "-tr", trainer, *SMALL)
    process = scenario.start(*wanted)
    for number in range(KILLS):
        scenario.wait_for_epoch(key, (number + 1) * EPOCHS[trainer] // (KILLS + 1))
        time.sleep(generator.uniform(0, 1.5))
        target = generator.choice(["training", "command"])
        with suppress(ProcessLookupError):
            os.kill(process.pid if target == "command" else scenario.child_of(key), signal.SIGKILL)
        if target == "command":
            process.communicate()
            process = scenario.start(*wanted)
    process.communicate()
    scenario.check_whole(key)
    lost = lost_epochs(scenario.results / key)
    assert len(scenario.attempts(key)) > KILLS and len(lost) >= KILLS - 1
    print(f"{trainer}: {KILLS} kills; finished epochs trained again after each: {lost}; no file damaged\n", flush=True)


SCENARIOS: dict[str, Callable[[SlurmWorkplace, SlurmCluster], None]] = {
    "crossval": whole_crossval,
    "local": local_queue,
    "time-limit": time_limit,
    "signals": signals,
    "preemption": preemption,
    "failing-fold": failing_fold,
    "two-commands": two_commands,
    "random-kills": random_kills,
}
