"""SERTrainer's variants: one attribute changed each, in nnU-Net's manner."""

from __future__ import annotations

from ser_nnunet.training.trainer import SERTrainer


class SERTrainerJoint(SERTrainer):
    """SAM guides throughout, and prompt learner and aggregator learn from L_seg and L_dist together."""

    guided_fraction = 1.0
    joint = True
    sam_slices_per_step = 1  # as accurate as 4 or 8 with the proxy-sam for SAM, and cheaper (docs/results.md)


class SERTrainerSAMDistill(SERTrainerJoint):
    """SERTrainerJoint plus a loss that draws the network's own output towards SAM's masks (ours, not the paper's)."""

    sam_distillation_weight = 1.0
    sam_slices_per_step = 4  # as measured: these slices are also the ones that the network imitates


class SERTrainerNoSAM(SERTrainer):
    """The ablation: same network, as many epochs with one decay of the rate, no SAM; needs no checkpoint."""

    guided_fraction = 0.0


class SERTrainerDemo(SERTrainer):
    """What `ser-nnunet demo` trains in a few minutes on a CPU: 300 steps, half of them guided."""

    epochs = 12
    iterations_per_epoch = 25
    val_iterations_per_epoch = 2
    guided_fraction = 0.5


SHORT_SCHEDULES = (5, 10, 20, 50, 100, 250, 500)

TRAINERS = {
    f"{base.__name__}_{epochs}epochs": type(
        f"{base.__name__}_{epochs}epochs",
        (base,),
        {"epochs": epochs, "__module__": __name__, "__doc__": f"{base.__name__} with {epochs} epochs."},
    )
    for base in (SERTrainer, SERTrainerJoint, SERTrainerNoSAM)
    for epochs in SHORT_SCHEDULES
}
globals().update(TRAINERS)  # importable by name, as multiprocessing and pickle want
