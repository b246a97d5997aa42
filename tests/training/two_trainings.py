"""One of two processes that train whole trainings together: `python -m tests.training.two_trainings RANK FOLDER`.

`FOLDER` holds `trainings.json` (name, folders of nnU-Net) of trainers that change their data between epochs or guide
on slices beside the batch. As in `two_processes.py`, they are built for one process at first, without SyncBatchNorm.
"""

import json
import os
import sys
from pathlib import Path

import torch

from ser_nnunet.nnunet.log import epoch_log
from ser_nnunet.training.cached_trainer import SERTrainerCached, SERTrainerSemi
from ser_nnunet.training.semi_trainer import SERTrainerSemiNoSAM
from ser_nnunet.training.trainer import LOGGED
from tests.benchmark.tiny_dataset import NAME, tiny_plans
from tests.training.two_processes import WAIT, distribute

TRAINERS = {each.__name__: each for each in (SERTrainerCached, SERTrainerSemiNoSAM, SERTrainerSemi)}
SETTINGS = {
    "num_epochs": 3,
    "num_iterations_per_epoch": 2,
    "num_val_iterations_per_epoch": 1,
    "save_every": 1,
    "rounds": (0.4,),  # before the second epoch
    "confidence": 0.5,
}


def build(name, root):
    """Return a trainer of fold 0 with a batch of 4, in one process."""
    described = json.loads((root / NAME / "dataset.json").read_text())
    plans = tiny_plans() | {"continue_training": False}
    plans["configurations"]["2d"]["batch_size"] = 4
    torch.manual_seed(0)
    kind = TRAINERS[name]
    settings = {key: value for key, value in SETTINGS.items() if hasattr(kind, key) or key.startswith(("num", "save"))}
    trainer = type(name, (kind,), settings)(plans, "2d", 0, described, torch.device("cpu"))
    trainer.initialize()
    return trainer


def train(trainer, rank):
    """Return what must be the same in both processes after the training, and which cases this one had labelled."""
    distribute(trainer, rank)
    labelled, make = [], getattr(trainer, "make_pseudo_labels", None)
    if make is not None:

        def note():
            make()
            labelled.append(sorted(file.name for file in trainer.pseudo_labels.folder.iterdir()))

        trainer.make_pseudo_labels = note
    trainer.run_training()
    log = epoch_log(trainer)
    return {
        "parameters": {name: value.detach().clone() for name, value in trainer.ser_net.named_parameters()},
        "log": {key: log[key] for key in (*LOGGED, "train_losses")},
        "labelled": labelled,
        "batch_size": trainer.batch_size,
    }


def main(rank, folder):
    """Train with the other process, and save what `train` returned, by trainer."""
    roots = json.loads((folder / "trainings.json").read_text())
    trainers = {}
    for name, root in roots.items():
        os.environ.update(nnUNet_preprocessed=root)
        trainers[name] = build(name, Path(root))
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=2, timeout=WAIT
    )
    found = {}
    for name, root in roots.items():
        os.environ.update(nnUNet_preprocessed=root)
        torch.manual_seed(rank)
        found[name] = train(trainers[name], rank)
    torch.distributed.destroy_process_group()
    torch.save(found, folder / f"rank_{rank}.pt")


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
