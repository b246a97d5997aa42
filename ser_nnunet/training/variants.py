"""SERTrainer's variants: a few settings changed each, in nnU-Net's manner.

A new one is a class here (or in a module of its own, if it changes methods), a file of its name in `trainers/`, and a
row in the README's table.
"""

from __future__ import annotations

from ser_nnunet.training.trainer import SERTrainer


class SERTrainerTwoPhases(SERTrainer):
    """The paper's two phases with the light network: SAM guides the first, the second trains without it."""

    guided_fraction = 2 / 3
    joint = False
    sam_slices_per_step = 4  # in the guided phase these alone train the prompt learner


class SERTrainerJoint(SERTrainer):
    """SERTrainer under the name that it had until 0.2.0."""

    joint = True  # as then, so that its trainings of then are continued


class SERTrainerSAMDistill(SERTrainer):
    """SERTrainer plus a loss that draws the network's own output towards SAM's masks (ours, not the paper's)."""

    joint = True
    sam_distillation_weight = 1.0
    sam_slices_per_step = 4  # as measured with AdamW: the distillation loss is taken on these slices


class SERTrainerNoSAM(SERTrainer):
    """The ablation: same network, as many epochs with one decay of the rate, no SAM; needs no checkpoint."""

    guided_fraction = 0.0


class SERTrainerNoSAMDoubleBatch(SERTrainerNoSAM):
    """Twice the plan's batch. With AdamW it helped in 3D, and in 2D not on MS lesions (docs/results.md)."""

    batch_factor = 2


class SERTrainerDemo(SERTrainerTwoPhases):
    """What `ser-nnunet demo` trains in a few minutes on a CPU: 300 steps, half of them guided."""

    num_epochs = 12
    num_iterations_per_epoch = 25
    num_val_iterations_per_epoch = 2
    guided_fraction = 0.5
