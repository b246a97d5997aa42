"""Guidance fades where SAM's masks stay far behind the network's own segmentation."""

from __future__ import annotations

import math
from collections.abc import Sequence

SHARE = 0.5  # of the network's Dice that SAM's masks must reach
LEAST = 2.0**-10  # of the factor: guidance recovers in ten epochs
GRACE = 0.2  # share of the guided epochs before SAM's masks are judged: the prompts must be learnt first


def fade(sam_dice: Sequence[float], network_dice: Sequence[float], guided_epochs: int) -> float:
    """Return the factor of guidance's losses in the next epoch, from 1 down to `LEAST`.

    After the first fifth of the guided epochs, each epoch in which SAM's masks reach less than half of the network's
    Dice halves the factor, and each in which they reach it doubles it again, up to 1. Epochs without either Dice (NaN)
    change nothing. It follows from the log alone, so that a resumed training goes on with the same factor.

    Args:
        sam_dice: of SAM's masks on training patches, one per epoch so far.
        network_dice: of the network on nnU-Net's validation patches, likewise.
        guided_epochs: of the whole training.
    """
    factor = 1.0
    for sam, network in list(zip(sam_dice, network_dice, strict=False))[math.ceil(GRACE * guided_epochs) :]:
        if not (math.isnan(sam) or math.isnan(network)):
            factor = min(1.0, 2 * factor) if sam >= SHARE * network else max(LEAST, factor / 2)
    return factor
