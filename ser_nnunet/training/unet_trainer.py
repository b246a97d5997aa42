"""nnU-Net's own network under the optimiser of SER's trainers, as a baseline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from nnunetv2.training.nnUNetTrainer.variants.optimizer.nnUNetTrainerAdam import nnUNetTrainerAdam1en3

from ser_nnunet.nnunet.model_record import add_record, unwrap
from ser_nnunet.training.muon import MuonAdamW, mixing_convolutions
from ser_nnunet.utils.files import replacing


class nnUNetTrainerMuon(nnUNetTrainerAdam1en3):
    """nnU-Net's trainer and its U-Net, with Muon and AdamW in place of SGD; neither SERNet nor SAM.

    AdamW updates what Muon is not made for: the first convolution, the transposed ones, those that make the
    segmentations, normalisation and biases. The rate is inherited: 0.001 (`SERTrainer`: 0.002).
    """

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, Any]:
        """Return Muon with AdamW, and nnU-Net's polynomial decay."""
        network: Any = unwrap(self.network)
        outputs = {id(layer.weight) for layer in network.decoder.seg_layers}
        by_muon = [weight for weight in mixing_convolutions(network) if id(weight) not in outputs]
        optimizer = MuonAdamW(network.parameters(), by_muon, self.initial_lr, self.weight_decay)
        return optimizer, PolyLRScheduler(optimizer, self.initial_lr, self.num_epochs)

    def save_checkpoint(self, filename: str) -> None:
        """Save as nnU-Net does; predictions look up its own trainer, and need neither this file nor this package."""
        if self.local_rank != 0 or self.disable_checkpointing:
            super().save_checkpoint(filename)  # which writes nothing
            return
        with replacing(Path(filename)) as unfinished:
            super().save_checkpoint(str(unfinished))
            add_record(unfinished, self)
