"""`ser-nnunet export`: a trained model as one file that predicts without torch and nnU-Net, and its model card."""

from __future__ import annotations

import argparse
from pathlib import Path

from ser_nnunet.errors import UserError
from ser_nnunet.export.fold_files import require_exportable

INT8 = (
    "--precision int8 is not offered: statically quantised, a prostate model lost 0.018 of 0.681 Dice, and a 3D "
    "network took 1.6 times as long in ONNX Runtime (docs/deployment.md); use fp32"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add = parser.add_argument
    where = "nnU-Net's folder of the trained model, TRAINER__PLANS__CONFIGURATION in nnUNet_results"
    add("folder", type=Path, metavar="MODEL_FOLDER", help=where)
    add(
        "-o",
        type=Path,
        required=True,
        metavar="FILE",
        help="the file to write, such as model.pyz or model.zip (replaced if an export wrote it)",
    )
    form = (
        "pyz: one file that predicts without nnU-Net; nnunet: a zip for nnUNetv2_install_pretrained_model_from_zip,"
        " which needs nnU-Net, but not this package (default: pyz)"
    )
    add("--format", choices=("pyz", "nnunet"), default="pyz", help=form)
    precision = "number format of the network's weights (default: fp32; int8 is refused, with what it would lose)"
    add("--precision", choices=("fp32", "int8"), default="fp32", help=precision)
    add("-f", nargs="+", metavar="FOLD", help="folds of the ensemble (default: all that were trained)")
    add(
        "-chk",
        default="checkpoint_final.pth",
        metavar="NAME",
        help="name of the checkpoint (default: checkpoint_final.pth)",
    )
    picture = (
        "show a validation case in the model card, which is in the file: one slice of a patient's image, without the"
        " name; `median` takes the case of the median Dice (default: no picture)"
    )
    add("--picture", metavar="CASE", help=picture)


def run(args: argparse.Namespace) -> int:
    """Export, and print how to use the file."""
    if args.precision == "int8":
        raise UserError(INT8)
    if args.format == "nnunet":
        require_exportable(args.folder, args.o, args.f, args.chk)
        from ser_nnunet.export.nnunet_zip import export_to_nnunet

        card = export_to_nnunet(args.folder, args.o, args.f, args.chk, print, args.picture)
        print(f"written to {args.o}, {args.o.stat().st_size / 1e6:.1f} MB\nmodel card: {card}")
        return 0
    from ser_nnunet.export.exporter import export_model

    exported = export_model(args.folder, args.o, args.f, args.chk, print, args.picture)
    print(f"written to {exported.path}, {exported.path.stat().st_size / 1e6:.1f} MB")
    print(f"model card: {exported.card}")
    print(f"to predict with it: python {exported.path} -i IMAGES -o MASKS")
    return 0
