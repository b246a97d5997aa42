"""One of two processes that train together: `python -m tests.training.two_processes RANK FOLDER`.

nnU-Net's own start of a distributed training insists on GPUs. Here its trainers are built as for one process at first,
and then get what `initialize` adds: DistributedDataParallel, losses over all processes, and a share of the batch.
SyncBatchNorm, into which nnU-Net converts the batch normalisation, exists on GPUs only; each process normalises its own
part of the batch instead, or uses fixed statistics where its gradients are compared with those of one process.
"""

import sys
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import torch
from torch.nn.parallel import DistributedDataParallel

from ser_nnunet.nnunet.log import epoch_log
from ser_nnunet.training.trainer import LOGGED
from ser_nnunet.training.variants import SERTrainerJoint, SERTrainerNoSAM, SERTrainerSAMDistill, SERTrainerTwoPhases
from tests.training.helpers import ALONE, DATASETS, GUIDED, draw_batch, make_plans, start_epoch

WAIT = timedelta(seconds=120)  # after which a process stops that waits for the other one in vain


class Case(NamedTuple):
    """A training, an epoch of it, and which process gets batches without annotated foreground."""

    trainer: type
    dataset: str
    epoch: int
    patch: tuple = (32, 32)
    without_foreground: int | None = None


CASES = {
    "guided": Case(SERTrainerTwoPhases, "classes", GUIDED),
    "guided, one without foreground": Case(SERTrainerTwoPhases, "regions", GUIDED, without_foreground=1),
    "alone": Case(SERTrainerTwoPhases, "classes", ALONE),
    "joint": Case(SERTrainerJoint, "binary", GUIDED),
    "joint, one without foreground": Case(SERTrainerJoint, "binary", GUIDED, without_foreground=0),
    "SAM distillation, one without foreground": Case(SERTrainerSAMDistill, "ignore", GUIDED, without_foreground=1),
    "3d": Case(SERTrainerNoSAM, "classes", ALONE, (8, 32, 32)),
    "3d, one without annotation": Case(SERTrainerNoSAM, "regions_ignore", ALONE, (8, 32, 32), without_foreground=0),
}
COMPARED = ("guided", "alone", "3d")  # with one process on the whole batch


def build(case):
    configuration = f"{len(case.patch)}d"
    plans = make_plans(patch=case.patch, configuration=configuration)
    torch.manual_seed(0)
    trainer = case.trainer(plans, configuration, 0, DATASETS[case.dataset], torch.device("cpu"))
    trainer.initialize()
    return trainer


def fix_normalisation(trainer):
    """Use the initial statistics: then the network treats every image alone."""
    for module in trainer.network.modules():
        if isinstance(module, torch.nn.BatchNorm2d | torch.nn.BatchNorm3d):
            module.eval()


def gradients(trainer):
    return {name: parameter.grad.clone() for name, parameter in trainer.ser_net.named_parameters()}


def of_one_process(case):
    """Return the gradients of a step on the whole batch."""
    trainer = build(case)
    start_epoch(trainer, case.epoch)
    fix_normalisation(trainer)
    trainer.train_step(draw_batch(case.dataset, 4, case.patch))
    return gradients(trainer)


def distribute(trainer, rank):
    """What nnU-Net's initialize does for one of several processes, apart from SyncBatchNorm."""
    trainer.is_ddp, trainer.local_rank = True, rank
    trainer._set_batch_size_and_oversample()
    trainer.loss = trainer._build_loss()
    trainer.network = DistributedDataParallel(trainer.network)


def part_of(case, rank, foreground=True):
    """Return this process's half of the batch."""
    batch = {key: value.chunk(2)[rank] for key, value in draw_batch(case.dataset, 4, case.patch).items()}
    if not foreground and "ignore" in case.dataset:
        batch["target"][:] = DATASETS[case.dataset]["labels"]["ignore"]
        if "regions" in case.dataset:
            batch["target"] = torch.zeros_like(batch["target"], dtype=torch.bool)
            batch["target"][:, -1] = True
    elif not foreground:
        batch["target"] = torch.zeros_like(batch["target"])
    return batch


def train(trainer, name, rank):
    """Return what must be the same in both processes after two steps, and the first step's gradients."""
    case = CASES[name]
    distribute(trainer, rank)
    start_epoch(trainer, case.epoch)
    if name in COMPARED:
        fix_normalisation(trainer)
    outputs, first = [], None
    for step in range(2):
        foreground = rank != case.without_foreground or step == 1
        outputs.append(trainer.train_step(part_of(case, rank, foreground)))
        first = first or gradients(trainer)
    trainer.on_train_epoch_end(outputs)
    log = epoch_log(trainer)
    return {
        "first": first,
        "gradients": gradients(trainer),
        "parameters": dict(trainer.ser_net.named_parameters()),
        "log": {key: log[key][-1] for key in (*LOGGED, "train_losses")},
        "weight": trainer.guidance and trainer.guidance.weight,
        "batch_size": trainer.batch_size,
    }


def main(rank, folder):
    """Train all cases with the other process, and save what `train` returned, by case."""
    with mock.patch("nnunetv2.training.nnUNetTrainer.nnUNetTrainer.infer_dataset_class", lambda place: None):
        alone = {name: of_one_process(CASES[name]) for name in COMPARED if rank == 0}
        trainers = {name: build(case) for name, case in CASES.items()}
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=2, timeout=WAIT
    )
    found = {name: train(trainer, name, rank) for name, trainer in trainers.items()}
    torch.distributed.destroy_process_group()
    torch.save({"found": found, "alone": alone}, folder / f"rank_{rank}.pt")


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
