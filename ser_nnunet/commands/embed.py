"""`ser-nnunet embed`: SAM's embeddings of a data set's slices, computed before the trainings that use them."""

from __future__ import annotations

import argparse
import os

from ser_nnunet.benchmark.benchmark_settings import DEFAULT_PLANS
from ser_nnunet.commands.number_types import decimal
from ser_nnunet.errors import UserError
from ser_nnunet.utils.variables import SAM_CHECKPOINT

DEFAULT_TRAINER = "SERTrainerCached"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Fill the parser."""
    parser.description = (
        "Compute SAM's embeddings of the slices of all preprocessed cases, and keep them beside these. Trainers that "
        "are guided by them do the same when a training starts; this command does it on another device, or in advance. "
        "Called again, it embeds what is missing."
    )
    add = parser.add_argument
    add("-d", required=True, metavar="ID", help="number or name of a planned and preprocessed data set")
    add("-c", default="2d", metavar="CONFIG", help="2D configuration of the plan (default: 2d)")
    add("-p", default=DEFAULT_PLANS, metavar="PLANS", help=f"name of the plans (default: {DEFAULT_PLANS})")
    settings = f"trainer whose settings for SAM are taken: image size, channels (default: {DEFAULT_TRAINER})"
    add("-tr", default=DEFAULT_TRAINER, metavar="TRAINER", help=settings)
    disk = "gigabytes on disk at most, shared evenly by the cases (default: the trainer's)"
    add("--gigabytes", type=decimal(0.001, 100_000), metavar="GB", help=disk)
    device = "device to compute on (default: cuda where there is one)"
    add("-device", choices=("cuda", "cpu", "mps"), help=device)


def run(args: argparse.Namespace) -> int:
    """Embed; print where the embeddings are."""
    if not os.environ.get(SAM_CHECKPOINT):
        raise UserError(f"{SAM_CHECKPOINT} isn't set: export {SAM_CHECKPOINT}=/path/to/sam_vit_b_01ec64.pth")
    from ser_nnunet.training.embed_dataset import EmbeddingRequest, embed_dataset

    request = EmbeddingRequest(args.d, args.c, args.p, args.tr, args.gigabytes, args.device)
    print(embed_dataset(request))
    return 0
