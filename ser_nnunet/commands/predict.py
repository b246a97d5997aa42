"""`ser-nnunet predict`, and the command line of exported model files: masks without torch and nnU-Net.

This module travels in every model file: it imports the runtime alone, and `ser_nnunet.export` only for model folders.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from ser_nnunet.commands.number_types import threads, tile_step
from ser_nnunet.errors import UserError
from ser_nnunet.runtime.requirements import ENGINES, check_requirements
from ser_nnunet.utils.faults import end_with


def add_arguments(parser: argparse.ArgumentParser, model: Path | None = None) -> None:
    """Add the command's arguments; `model` is the file that is run, which needs no -m."""
    add = parser.add_argument
    images = (
        "folder of images named CASE_0000.nii.gz as in nnU-Net, a folder of DICOM series, or one case's channels"
        " as files or folders"
    )
    add("-i", nargs="+", type=Path, metavar="IN", help=images)
    add("-o", type=Path, metavar="OUT", help="folder for the masks")
    if model is None:
        add(
            "-m",
            type=Path,
            required=True,
            metavar="MODEL",
            help="exported file, or nnU-Net's folder of a trained model",
        )
    else:
        parser.set_defaults(m=model)
    add("--threads", type=threads, metavar="N", help="number of CPU threads (default: every core)")
    add(
        "--tta",
        choices=("mirror", "off"),
        default="mirror",
        help="test-time augmentation: mirror every tile, or not (default: mirror, as nnU-Net)",
    )
    add(
        "--step",
        type=tile_step,
        default=0.5,
        metavar="F",
        help="distance of neighbouring tiles, in tiles (default: 0.5, as nnU-Net)",
    )
    add("--engine", choices=ENGINES, help="inference engine to use (default: the first of these that is installed)")
    device = "device to compute on; cuda: NVIDIA, by onnxruntime-gpu; gpu: Intel, by OpenVINO (default: cpu)"
    add("--device", choices=("cpu", "cuda", "gpu"), default="cpu", help=device)
    add("--overwrite", action="store_true", help="predict cases again that have a mask")
    add("--card", action="store_true", help="print the model card, an HTML page, and predict nothing")


def run(args: argparse.Namespace) -> int:
    """Predict, or print the model card; 1 if a case failed."""
    if args.card:
        from ser_nnunet.runtime.model_file import open_model

        with model_file(args.m) as file:
            sys.stdout.buffer.write(open_model(file).card)  # as it is, whatever the terminal's encoding
        return 0
    if args.i is None or args.o is None:
        raise UserError("-i and -o are missing: images to predict and a folder for their masks (or --card)")
    if args.threads is not None:
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # of numpy's matrix products; read when it is imported
            os.environ[name] = str(args.threads)
    check_requirements()
    from ser_nnunet.runtime.case_runs import predict_cases
    from ser_nnunet.runtime.engine import choose_engine
    from ser_nnunet.runtime.model import Model

    choose_engine(args.engine, args.device)  # what is missing is no fault of the first case
    mirror = args.tta == "mirror"
    with model_file(args.m) as file:
        settings = {"threads": args.threads, "engine": args.engine, "device": args.device}
        model = Model.load(file, mirror=mirror, step=args.step, **settings)
        outcome = predict_cases(model, args.i, args.o, args.overwrite)
    print(
        f"{len(outcome.written)} mask{'s' * (len(outcome.written) != 1)} written to {args.o}, "
        f"{len(outcome.skipped)} there already, "
        f"{len(outcome.failed)} case{'s' * (len(outcome.failed) != 1)} failed"
    )
    for name, reason in outcome.failed.items():
        print(f"  {name}: " + reason.replace("\n", "\n    "), file=sys.stderr)
    return 1 if outcome.failed else 0


@contextlib.contextmanager
def model_file(path: Path) -> Iterator[Path]:
    """Yield a model file: the one at `path`, or one that a model folder is exported to for the block.

    Raises:
        UserError: a model folder that can't be exported, or no torch for it.
    """
    if not path.is_dir():
        yield path
        return
    try:
        from ser_nnunet.export.exporter import export_model
    except ModuleNotFoundError as error:
        raise UserError(
            f"{path}: a model folder needs ser-nnunet and torch; export it first, where they are"
        ) from error
    with tempfile.TemporaryDirectory() as folder:
        yield export_model(path, Path(folder) / "model.pyz").path


def run_model_file(path: str, argv: Sequence[str]) -> int:
    """Run an exported model file; return the exit status as `ser-nnunet predict` does (see `utils.faults`).

    SER_DEBUG=1 adds the traceback of an error.
    """
    parser = argparse.ArgumentParser(
        prog=Path(path).name,
        description="Segment images with the model in this file. Research use, not a medical device.",
    )
    add_arguments(parser, Path(path))
    try:
        status = run(parser.parse_args(argv))
        sys.stdout.flush()
        return status
    except (Exception, KeyboardInterrupt) as error:
        return end_with(error, Path(path).name, os.environ.get("SER_DEBUG", "0") not in ("", "0"))
