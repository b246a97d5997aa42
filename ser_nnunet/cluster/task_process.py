"""The process that does one task, started by `task_run`: `python -m ser_nnunet.cluster.task_process KIND KEY ...`."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from time import strftime

from ser_nnunet.cluster.child_process import end_with_parent
from ser_nnunet.cluster.crossval_settings import CrossvalSettings
from ser_nnunet.cluster.crossval_tasks import Crossval, list_crossval
from ser_nnunet.errors import UserError
from ser_nnunet.nnunet.paths import preprocessed_dataset
from ser_nnunet.nnunet.trainers import EXTERNAL_TRAINERS, with_trainers
from ser_nnunet.utils.files import read_json
from ser_nnunet.utils.json_files import validate
from ser_nnunet.utils.termination import handle_in_this_process


def train(crossval: Crossval, key: str) -> None:
    """Train and validate a fold from its last whole checkpoint; `UserError` if it isn't done in the end."""
    training, settings = crossval.trainings[key], crossval.settings
    for file in training.files.set_damaged_aside():
        print(f"cut off while it was written, set aside: {file}", flush=True)
    import torch
    from nnunetv2.run.run_training import run_training

    # nnU-Net's command takes all cores of the machine on the CPU, whatever the job may use
    torch.set_num_threads(1 if settings.device == "cuda" else settings.cpus_per_job)
    run_training(
        settings.dataset,
        training.configuration,
        training.fold,
        training.trainer,
        settings.plans,
        num_gpus=settings.gpus_per_job if settings.device == "cuda" else 1,
        export_validation_probabilities=True,
        continue_training=True,
        device=torch.device(settings.device),
    )
    if not training.files.is_done():
        missing = training.files.missing_for_next_stages()
        lacks = f"predictions of {', '.join(missing[:5])} for the next stage" if missing else "its results"
        raise UserError(f"the training has ended, but {training.files.folder} lacks {lacks}")


def follow_up(crossval: Crossval, key: str) -> None:
    """Do a step after the trainings."""
    from ser_nnunet.cluster import follow_up_runs

    step, settings, digests = crossval.follow_ups[key], crossval.settings, crossval.digests()
    made_from = step.digest(digests)
    if made_from is None:
        raise UserError(f"{key}: something that it needs isn't done: {', '.join(step.needs)}")
    if step.kind == "best":
        follow_up_runs.find_best(settings, step.subject, [crossval.trainings[need].files for need in step.needs])
    elif step.kind == "predict":
        follow_up_runs.predict(settings, step.subject, made_from)
    elif step.kind == "evaluate":
        follow_up_runs.evaluate(settings, step.subject)
    else:
        follow_up_runs.report(settings, step.subject)
    step.mark_done(digests)


def main(arguments: list[str]) -> int:
    """Do the task, unless it is done; return the exit status."""
    # an exit ends the worker processes, a kill doesn't
    handle_in_this_process(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # for the supervising process
    end_with_parent()
    kind, key, *_, content = arguments
    settings: CrossvalSettings = validate(json.loads(content), CrossvalSettings)
    os.environ[EXTERNAL_TRAINERS] = with_trainers(os.environ.get(EXTERNAL_TRAINERS))
    print(f"=== {strftime('%Y-%m-%d %H:%M:%S')} {key}, process {os.getpid()} on {os.uname().nodename}", flush=True)
    plans = read_json(Path(preprocessed_dataset(settings.dataset)) / f"{settings.plans}.json")
    crossval = list_crossval(settings, plans)
    if crossval.is_done(key):
        print(f"{key} is done already", flush=True)
        return 0
    try:
        train(crossval, key) if kind == "training" else follow_up(crossval, key)
    except UserError as error:
        print(f"{key}: {error}", flush=True)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
