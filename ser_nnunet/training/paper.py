"""SERTrainerPaper: the reference implementation's settings, as far as they are known, inside nnU-Net's patches.

Source: Proietto Salanitri et al., Pattern Recognition Letters 199 (2026) 205-211, doi 10.1016/j.patrec.2025.11.018.
"""

from __future__ import annotations

import os
from typing import Any

import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.spatial.rot90 import Rot90Transform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.random import RandomTransform

from ser_nnunet.network.pretrained import load_imagenet_weights
from ser_nnunet.training.sernet_plans import plan_configuration
from ser_nnunet.training.trainer import SERTrainer
from ser_nnunet.utils.variables import HARDNET_CHECKPOINT


class SERTrainerPaper(SERTrainer):
    """The reference settings: HarDNet-85, the linear aggregator, 200 guided and 100 further epochs, SGD, batch 8.

    ImageNet weights for HarDNet-85 come from the file that the environment variable `SER_HARDNET_CHECKPOINT` names;
    without it the encoder starts from scratch. The file is read when a training begins, not when one is resumed or
    validated, and not if `-pretrained_weights` were loaded.

    Attributes:
        batch_size: patches per step, over all GPUs.
        momentum: of SGD.

    What still differs from the reference:
        * L_seg is Dice plus binary cross-entropy on SAM's one logit per class; L_dist is nnU-Net's own loss;
        * the aggregator is trained on detached prompts in the guided phase already; in the reference only afterwards;
        * SAM's picture is clipped at its 0.5 % and 99.5 % quantiles, and the prompt lies on the part of SAM's grid that
          the image fills;
        * gradients are clipped at nnU-Net's norm of 12;
        * patches, resampling and normalisation are nnU-Net's; the reference shows 512-pixel axial slices to the
          prompt learner (SAM sees 1024 pixels in both);
        * all channels of the data set enter the prompt learner; the reference has FLAIR alone (convert the data set
          with `--channels FLAIR` for that);
        * an epoch is nnU-Net's 250 iterations;
        * 85 % of a batch's patches are centred on foreground, the other 15 % are random and may hold some too;
        * SGD's momentum, the schedule of its rate and the flip's axis are not known: 0.9, nnU-Net's polynomial
          decay in each phase, and left-right;
        * on patches that aren't square a rotation by 90 degrees doesn't fit: they turn by 180;
        * nnU-Net's sliding window, without mirroring at prediction;
        * HarDNet-85's last stage, which feeds nothing in the reference, is left out.
    """

    preset = "paper"
    guided_fraction = 2 / 3
    joint = False
    num_epochs = 300
    initial_lr = 1e-2
    weight_decay = 1e-4
    oversample_foreground_percent = 0.85
    batch_size = 8  # instead of the plan's
    sam_slices_per_step = 8  # the whole batch: L_seg alone trains the prompt learner in the guided phase
    momentum = 0.9

    @classmethod
    def refuse_unsupported(cls, plans: dict[str, Any], configuration: str) -> None:
        """Refuse 3D configurations: the reference is a 2D network, with ImageNet's weights, trained on axial slices.

        Raises:
            NotImplementedError: says which trainer is for 3D.
        """
        patch = plan_configuration(plans, configuration).patch_size
        if len(patch) != 2:
            raise NotImplementedError(
                f"{cls.__name__} has the reference's settings, which are for 2D slices, and {configuration} has 3D "
                f"patches {tuple(patch)}: train the configuration 2d with it, or this one with SERTrainer"
            )

    def on_train_start(self) -> None:
        """Fill the encoder with ImageNet weights where a file is given and no trained weights were loaded."""
        path = os.environ.get(HARDNET_CHECKPOINT)
        start = f"from scratch ({HARDNET_CHECKPOINT} isn't set)"
        if self.was_initialized:  # nnU-Net initialises a trainer before it loads a checkpoint or pretrained weights
            start = "with the weights that were loaded"
        else:
            self.initialize()
            if path:
                count = load_imagenet_weights(self.ser_net.prompt_learner.encoder, path)
                start = f"from {path} ({count} tensors)"
        self.print_to_log_file(f"HarDNet-85 starts {start}")
        super().on_train_start()

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, Any]:
        """Return the paper's SGD (rate 0.01, weight decay 1e-4) and nnU-Net's polynomial schedule for each phase."""
        optimizer = torch.optim.SGD(
            self.network.parameters(), self.initial_lr, momentum=self.momentum, weight_decay=self.weight_decay
        )
        return optimizer, self.build_lr_scheduler(optimizer)

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self) -> tuple[Any, bool, Any, Any]:
        """Return no rotation, no larger patch to cut from, and no mirroring at prediction."""
        self.inference_allowed_mirroring_axes = None
        return (0, 0), False, self.configuration_manager.patch_size, (1,)

    @staticmethod
    def get_training_transforms(patch_size: Any, *arguments: Any, **settings: Any) -> BasicTransform:
        """Return one flip (p 0.5), one rotation by 90 degrees (p 0.5), and nnU-Net's handling of labels and regions."""
        turns = (1, 2, 3) if patch_size[0] == patch_size[1] else (2,)
        kept = ("is_cascaded", "foreground_labels", "regions", "ignore_label")
        label_settings: dict[str, Any] = {key: settings.get(key) for key in kept}
        labels = SERTrainer.get_validation_transforms(None, **label_settings)
        rotation = Rot90Transform(1, turns, {0, 1})
        return ComposeTransforms([MirrorTransform((1,)), RandomTransform(rotation, 0.5), labels])
