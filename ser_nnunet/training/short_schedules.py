"""Short schedules of three trainers, named as nnU-Net names its own (`nnUNetTrainer_5epochs`, ...)."""

from __future__ import annotations

from ser_nnunet.training.trainer import SERTrainer
from ser_nnunet.training.variants import SERTrainerJoint, SERTrainerNoSAM


class SERTrainer_5epochs(SERTrainer):
    """SERTrainer with 5 epochs."""

    num_epochs = 5


class SERTrainer_10epochs(SERTrainer):
    """SERTrainer with 10 epochs."""

    num_epochs = 10


class SERTrainer_20epochs(SERTrainer):
    """SERTrainer with 20 epochs."""

    num_epochs = 20


class SERTrainer_50epochs(SERTrainer):
    """SERTrainer with 50 epochs."""

    num_epochs = 50


class SERTrainer_100epochs(SERTrainer):
    """SERTrainer with 100 epochs."""

    num_epochs = 100


class SERTrainer_250epochs(SERTrainer):
    """SERTrainer with 250 epochs."""

    num_epochs = 250


class SERTrainer_500epochs(SERTrainer):
    """SERTrainer with 500 epochs."""

    num_epochs = 500


class SERTrainerJoint_5epochs(SERTrainerJoint):
    """SERTrainerJoint with 5 epochs."""

    num_epochs = 5


class SERTrainerJoint_10epochs(SERTrainerJoint):
    """SERTrainerJoint with 10 epochs."""

    num_epochs = 10


class SERTrainerJoint_20epochs(SERTrainerJoint):
    """SERTrainerJoint with 20 epochs."""

    num_epochs = 20


class SERTrainerJoint_50epochs(SERTrainerJoint):
    """SERTrainerJoint with 50 epochs."""

    num_epochs = 50


class SERTrainerJoint_100epochs(SERTrainerJoint):
    """SERTrainerJoint with 100 epochs."""

    num_epochs = 100


class SERTrainerJoint_250epochs(SERTrainerJoint):
    """SERTrainerJoint with 250 epochs."""

    num_epochs = 250


class SERTrainerJoint_500epochs(SERTrainerJoint):
    """SERTrainerJoint with 500 epochs."""

    num_epochs = 500


class SERTrainerNoSAM_5epochs(SERTrainerNoSAM):
    """SERTrainerNoSAM with 5 epochs."""

    num_epochs = 5


class SERTrainerNoSAM_10epochs(SERTrainerNoSAM):
    """SERTrainerNoSAM with 10 epochs."""

    num_epochs = 10


class SERTrainerNoSAM_20epochs(SERTrainerNoSAM):
    """SERTrainerNoSAM with 20 epochs."""

    num_epochs = 20


class SERTrainerNoSAM_50epochs(SERTrainerNoSAM):
    """SERTrainerNoSAM with 50 epochs."""

    num_epochs = 50


class SERTrainerNoSAM_100epochs(SERTrainerNoSAM):
    """SERTrainerNoSAM with 100 epochs."""

    num_epochs = 100


class SERTrainerNoSAM_250epochs(SERTrainerNoSAM):
    """SERTrainerNoSAM with 250 epochs."""

    num_epochs = 250


class SERTrainerNoSAM_500epochs(SERTrainerNoSAM):
    """SERTrainerNoSAM with 500 epochs."""

    num_epochs = 500
