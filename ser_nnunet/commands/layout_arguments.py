"""The arguments of `ser-nnunet convert folders` and `convert bids`, with which users describe their own data."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from ser_nnunet.commands.number_types import whole
from ser_nnunet.dataset_conversion import BidsLayout, Description, FolderLayout
from ser_nnunet.dataset_conversion.core.class_options import parse_labels, parse_value_map
from ser_nnunet.errors import UserError

Layout = FolderLayout | BidsLayout


def add_folder_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `folders`."""
    add = parser.add_argument
    pattern = (
        "a channel and the pattern of its files, once per channel in nnU-Net's order, such as"
        " FLAIR 'patient{patient}/{patient}_FLAIR.nii.gz'. {patient} groups the folds; {time}, {site} and others tell"
        " cases apart; {name:REGEX} restricts one; * is any part of a name, ** any number of folders"
    )
    add("--channel", nargs=2, action="append", required=True, metavar=("NAME", "PATTERN"), help=pattern)
    add("--label", required=True, metavar="PATTERN", help="pattern of the labels, with the same placeholders")
    test = "patterns of test cases' files, or of folders around them, such as Testing (default: all are for training)"
    add("--test", nargs="+", default=[], metavar="PATTERN", help=test)
    add_description_arguments(parser)


def add_bids_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `bids`."""
    add = parser.add_argument
    suffix = "suffixes of the channels in nnU-Net's order, with entities if needed, such as FLAIR acq-iso_T1w"
    add("--channel", nargs="+", required=True, metavar="SUFFIX", help=suffix)
    label = "suffix of the labels, with entities if needed, such as desc-lesion_mask or dseg"
    add("--label", required=True, metavar="SUFFIX", help=label)
    where = "folder below derivatives that has the labels (. for labels beside the images; default: the only one)"
    add("--label-pipeline", default="", metavar="NAME", help=where)
    images = "folder below derivatives that has the images, such as registered ones (default: the raw images)"
    add("--image-pipeline", default=".", metavar="NAME", help=images)
    add("--test", nargs="+", default=[], metavar="SUBJECT", help="subjects for imagesTs, such as sub-05")
    add_description_arguments(parser)


def add_description_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what both share: classes, values, and where the data is from."""
    add = parser.add_argument
    labels = "classes and their values, such as background=0 lesion=1; whole=1,2 for a region"
    add("--labels", nargs="+", required=True, metavar="NAME=VALUE", help=labels)
    order = (
        "the value with which nnU-Net writes each region of --labels, in the order of --labels; later regions overwrite"
        " earlier ones, so outer ones come first: --labels whole=1,2 core=2 --regions-class-order 1 2"
        " (nnU-Net's regions_class_order; needed if there are regions)"
    )
    add("--regions-class-order", nargs="+", type=whole(1, 65535), metavar="VALUE", help=order)
    change = "values to change, such as 255=1; all others must be declared"
    add("--map", nargs="+", default=[], metavar="FOUND=WRITTEN", help=change)
    add("--allow-empty-masks", action="store_true", help="accept cases without foreground")
    add("--licence", default="", help="licence of the data, written to dataset.json")
    add("--citation", default="", help="what users of the data must cite, for dataset.json")


def read_folder_layout(args: argparse.Namespace) -> FolderLayout:
    """Return what the arguments describe; raises `UserError` for channels or classes that can't be."""
    names = [name for name, _ in args.channel]
    if len(set(names)) < len(names):
        raise UserError(f"--channel: each name once expected, found {' '.join(names)}")
    return FolderLayout(dict(args.channel), args.label, read_description(args), tuple(args.test))


def read_bids_layout(args: argparse.Namespace) -> BidsLayout:
    """Return what the arguments describe; raises `UserError` for channels or classes that can't be."""
    if len(set(args.channel)) < len(args.channel):
        raise UserError(f"--channel: each suffix once expected, found {' '.join(args.channel)}")
    return BidsLayout(
        tuple(args.channel),
        args.label,
        read_description(args),
        args.label_pipeline.removeprefix("derivatives/") or "",
        args.image_pipeline.removeprefix("derivatives/"),
        tuple(args.test),
    )


def read_description(args: argparse.Namespace) -> Description:
    """Return classes, values and source."""
    return Description(
        labels=parse_labels(args.labels),
        regions_class_order=tuple(args.regions_class_order) if args.regions_class_order else None,
        value_map=parse_value_map(args.map),
        allow_empty_masks=args.allow_empty_masks,
        licence=args.licence,
        citation=args.citation,
    )


LAYOUTS: dict[str, tuple[Callable[[argparse.ArgumentParser], None], Callable[[argparse.Namespace], Layout]]] = {
    "folders": (add_folder_arguments, read_folder_layout),
    "bids": (add_bids_arguments, read_bids_layout),
}
"""Name after `ser-nnunet convert` -> how its arguments are added and read."""
