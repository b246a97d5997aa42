"""Where tasks stand: the disk first, then the queue; as a table and as a page."""

import os
import re
from dataclasses import replace
from datetime import datetime

import pytest

from ser_nnunet.cluster.cross_validation import cancel, run
from ser_nnunet.cluster.crossval_states import COMMAND_LOCK, TaskState, read_states
from ser_nnunet.cluster.crossval_tasks import list_crossval
from ser_nnunet.cluster.slurm_queue import QueuedTask
from ser_nnunet.cluster.status_page import write_status_page
from ser_nnunet.cluster.status_table import describe, format_duration, format_states
from ser_nnunet.cluster.task_record import Submission, TaskRecord
from ser_nnunet.errors import UserError
from ser_nnunet.utils.files import write_json
from ser_nnunet.utils.locks import ExclusiveLock
from tests.cluster.test_training_log import epoch, write_log
from tests.cluster.trainings import finish_training, plan_dataset, settings_of

MODEL = "SERTrainerNoSAM__nnUNetPlans__2d"
FOLDS = [f"{MODEL}/fold_{fold}" for fold in range(2)]
BEST = "best/SERTrainerNoSAM"


@pytest.fixture
def crossval(tmp_path, monkeypatch):
    return list_crossval(settings_of(engine="slurm"), plan_dataset(tmp_path, monkeypatch))


def record(crossval, key):
    found = TaskRecord(crossval.settings.folder / "tasks" / key)
    found.folder.mkdir(parents=True, exist_ok=True)
    return found


def submit(crossval, *keys, **changes):
    for index, key in enumerate(keys):
        submission = Submission("slurm", datetime.now().timestamp(), f"17_{index}")
        record(crossval, key).submit(replace(submission, **changes))


def states_of(crossval, **queue):
    return {key: (state.state, state.reason) for key, state in read_states(crossval, queue).items()}


def test_nothing_is_there_before_the_first_submission(crossval):
    assert {state for state, _ in states_of(crossval).values()} == {"not submitted"}


def test_a_finished_training_is_done_whatever_the_queue_says(crossval):
    finish_training(crossval.trainings[FOLDS[0]].files.folder, dice=0.75)
    states = read_states(crossval, {FOLDS[0]: QueuedTask("17_0", "RUNNING")})
    assert (states[FOLDS[0]].state, states[FOLDS[0]].dice) == ("done", 0.75)


def test_the_queue_s_tasks_run_or_wait_or_are_requeued(crossval):
    submit(crossval, *FOLDS, BEST)
    record(crossval, FOLDS[0]).begin_attempt("17_0")
    record(crossval, FOLDS[1]).begin_attempt("17_1")
    record(crossval, FOLDS[1]).end_attempt("stopped", "time limit or preemption: requeued", True)
    queue = {
        FOLDS[0]: QueuedTask("17_0", "RUNNING", "1:00:00", "None", "node7"),
        FOLDS[1]: QueuedTask("17_1", "PENDING", "", "BeginTime"),
        BEST: QueuedTask("18", "PENDING", "", "Dependency"),
    }
    states = states_of(crossval, **queue)
    assert states[FOLDS[0]] == ("running", "job 17_0 on node7, 1:00:00 of its time left")
    assert states[FOLDS[1]] == ("requeued", "job 17_1, BeginTime")
    assert states[BEST] == ("waiting", "job 18, Dependency")


def test_a_failed_fold_holds_up_the_best_configuration_and_nothing_else(crossval):
    submit(crossval, *crossval.tasks())
    finish_training(crossval.trainings[FOLDS[0]].files.folder)
    record(crossval, FOLDS[1]).begin_attempt("17_1")
    record(crossval, FOLDS[1]).log.write_text("CUDA out of memory\n")
    record(crossval, FOLDS[1]).end_attempt("failed", "exit status 1", False)
    states = states_of(crossval)
    assert states[FOLDS[0]][0] == "done" and states[FOLDS[1]] == ("failed", "exit status 1")
    assert states[BEST] == ("held up", f"by {FOLDS[1]}")
    assert states["report/crossval"] == states[BEST], "the cause, not the steps between"
    text = format_states(list(read_states(crossval, {}).values()))
    assert "CUDA out of memory" in text and f"less {record(crossval, FOLDS[1]).log}" in text


def test_jobs_that_left_the_queue_have_failed_unless_they_were_cancelled(crossval):
    submit(crossval, FOLDS[0])
    submit(crossval, FOLDS[1], cancelled=True)
    states = states_of(crossval)
    assert states[FOLDS[0]][0] == "failed" and "has left the queue without a start" in states[FOLDS[0]][1]
    assert states[FOLDS[1]][0] == "cancelled"


def test_a_step_whose_trainings_have_changed_was_not_killed(crossval):
    submit(crossval, BEST)
    record(crossval, BEST).begin_attempt("18")
    record(crossval, BEST).end_attempt("done", "", False)
    state, reason = states_of(crossval)[BEST]
    assert state == "not submitted" and "have changed since: give the command again" in reason
    assert reason in format_states(list(read_states(crossval, {}).values()))


def test_a_supervisor_that_ended_without_a_word_was_killed(crossval):
    submit(crossval, FOLDS[0])
    record(crossval, FOLDS[0]).begin_attempt("17_0")
    assert states_of(crossval)[FOLDS[0]][0] == "failed"


def test_a_local_training_runs_as_long_as_its_lock_is_held_whoever_has_its_process_id(crossval):
    submit(crossval, FOLDS[0], engine="local", job="")
    record(crossval, FOLDS[0]).begin_attempt("")  # with the id of this process, which doesn't train
    assert states_of(crossval)[FOLDS[0]][0] == "failed"
    with ExclusiveLock(record(crossval, FOLDS[0]).lock, "a training"):
        assert states_of(crossval)[FOLDS[0]][0] == "running"


def begun_on_another_machine(crossval, key, monkeypatch):
    submit(crossval, key, engine="local", job="")
    with monkeypatch.context() as there:
        there.setattr("socket.gethostname", lambda: "node7")
        record(crossval, key).begin_attempt("")
    return record(crossval, key)


def test_a_local_training_that_died_with_another_machine_was_killed(crossval, monkeypatch):
    """A process there holds the lock, as file systems with locks between nodes know; none does after its death."""
    begun = begun_on_another_machine(crossval, FOLDS[0], monkeypatch)
    assert states_of(crossval)[FOLDS[0]] == ("failed", "killed") and not begun.lock.exists(), "a look writes nothing"
    with ExclusiveLock(begun.lock, "a training"):
        assert states_of(crossval)[FOLDS[0]] == ("running", f"process {os.getpid()} on node7")
    begun.lock.touch()
    assert states_of(crossval)[FOLDS[0]] == ("failed", "killed"), "a kill leaves the file, which nobody holds"


def test_a_step_waits_for_a_fold_that_is_trained_on_another_machine(crossval, monkeypatch):
    finish_training(crossval.trainings[FOLDS[0]].files.folder)
    begun, lines = begun_on_another_machine(crossval, FOLDS[1], monkeypatch), []
    settings = replace(crossval.settings, engine="local")
    with ExclusiveLock(begun.lock, "a training"):
        assert not run(settings, lines.append), "not all is done"
    assert lines[0] == "5 tasks: 1 done, 1 under way, 3 to start"
    assert f"{BEST} is not started: it needs {FOLDS[1]}, under way elsewhere; the same command goes on" in lines
    assert record(crossval, BEST).attempts() == []


def test_a_command_on_another_machine_keeps_the_rest_waiting_and_is_cancelled_there(crossval, monkeypatch):
    submit(crossval, FOLDS[0], engine="local", job="")
    settings = replace(crossval.settings, engine="local")
    lock = ExclusiveLock(settings.folder / COMMAND_LOCK, "a command")
    with lock:
        write_json(lock.holder, {"process": 1, "host": "node7", "user": "me", "since": "today"})
        assert states_of(crossval)[FOLDS[0]] == ("waiting", "")
        with pytest.raises(UserError, match=r"another machine \(process 1 of me on node7, since today\): give"):
            cancel(replace(crossval, settings=settings))


def test_an_interrupted_local_queue_is_stopped_and_can_be_resumed(crossval):
    submit(crossval, FOLDS[0], engine="local", job="")
    assert states_of(crossval)[FOLDS[0]] == ("stopped", "the command was interrupted")


def test_steps_are_repeated_when_a_training_was(crossval):
    for key in FOLDS:
        finish_training(crossval.trainings[key].files.folder)
    step = crossval.follow_ups[BEST]
    assert not step.is_done(crossval.digests())
    step.mark_done(crossval.digests())
    assert BEST in crossval.done()
    summary = crossval.trainings[FOLDS[0]].files.summary
    summary.write_text(summary.read_text().replace("0.8", "0.9"))
    assert BEST not in crossval.done()


@pytest.mark.parametrize(
    ("images", "others", "is_evaluated"),
    [
        ("imagesTs", ["labelsTs"], True),
        ("imagesTs", [], False),
        ("patients", [], False),
        ("patients", ["labels"], False),
    ],
)
def test_predictions_are_evaluated_where_nnunet_s_layout_has_labels(
    tmp_path, monkeypatch, images, others, is_evaluated
):
    plans = plan_dataset(tmp_path, monkeypatch)
    for name in (images, *others):
        (tmp_path / name).mkdir()
    tasks = list_crossval(settings_of(predict=str(tmp_path / images)), plans).tasks()
    assert "predict/SERTrainerNoSAM" in tasks and "evaluate/crossval" in tasks
    assert ("evaluate/test" in tasks) == ("report/test" in tasks) == is_evaluated


def running(crossval, *epochs, requeues=0):
    folder = crossval.trainings[FOLDS[0]].files.folder
    write_log(folder, 1, *epochs)
    (folder / "debug.json").write_text('{"num_epochs": "50"}')
    state = read_states(crossval, {FOLDS[0]: QueuedTask("17_0", "RUNNING")})[FOLDS[0]]
    return replace(state, requeues=requeues)


def test_a_running_fold_shows_epoch_dice_time_left_and_restarts(crossval):
    state = running(crossval, epoch(0, seconds=90), epoch(1, "0.25", seconds=90), requeues=2)
    assert describe(state) == "epoch 2/50, Dice 0.250, 72 min left, restarted 2 times"


@pytest.mark.parametrize(
    ("seconds", "text"), [(45, "45 s"), (600, "10 min"), (11100, "3 h 05 min"), (187200, "2 d 4 h")]
)
def test_durations(seconds, text):
    assert format_duration(seconds) == text


def test_the_page_has_every_fold_the_curves_and_what_failed_and_no_link_elsewhere(crossval, tmp_path):
    running(crossval, epoch(0), epoch(1))
    submit(crossval, FOLDS[1])
    record(crossval, FOLDS[1]).begin_attempt("17_1")
    record(crossval, FOLDS[1]).log.write_text("<script>alert(1)</script>\n")
    record(crossval, FOLDS[1]).end_attempt("failed", "exit status 1", False)
    states: list[TaskState] = list(read_states(crossval, {FOLDS[0]: QueuedTask("17_0", "RUNNING")}).values())
    page = write_status_page(crossval.settings, states, tmp_path / "status.html").read_text()
    assert "job 17_0<" in page, "no words around a node and a time that SLURM does not name yet"
    assert "epoch 2/50" in page and "exit status 1" in page and BEST in page
    assert page.count("<svg") == 1 and "pseudo Dice" in page
    assert "<script>" not in page and "&lt;script&gt;" in page
    assert not re.findall(r'(?:src|href)="https?:', page)
