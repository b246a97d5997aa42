"""`ser-nnunet evaluate`: compare folders of predicted and reference segmentations, and write tables."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ser_nnunet.commands.number_types import decimal, processes, seed, whole
from ser_nnunet.errors import UserError
from ser_nnunet.evaluation.case_files import require_folders
from ser_nnunet.evaluation.definitions import GROUPS
from ser_nnunet.evaluation.settings import (
    DEFAULT_MIN_OVERLAP,
    DETECTION_RULES,
    EMPTY_DISTANCES,
    MOST_RESAMPLES,
    Settings,
)
from ser_nnunet.utils.printable import printable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    folder: dict[str, Any] = {"type": Path, "metavar": "DIR"}
    add = parser.add_argument
    add("-ref", required=True, help="folder of the reference segmentations", **folder)
    add("-pred", required=True, help="predicted segmentations, named like the references", **folder)
    add("-o", required=True, help="output folder for the tables", **folder)
    add("--images", help="images for the report's figures (default: imagesTs beside labelsTs and so on)", **folder)
    add("--compare", nargs="+", default=[], help="predictions of other methods for the same cases", **folder)
    add("--names", nargs="+", metavar="NAME", help="names of the methods: that of -pred first, then those of --compare")
    where = (
        "dataset.json, which names the classes (default: searched in the folders and their parents, which must agree on"
        " the labels)"
    )
    add("--dataset-json", type=Path, metavar="FILE", help=where)
    add("--cases", nargs="+", metavar="CASE", help="evaluate these cases only")
    add("--chill", action="store_true", help="evaluate the cases that are predicted, instead of requiring all")
    who = (
        "file that names the patient of every case: JSON (case: patient), or CSV or TSV with columns case and patient;"
        " patients are resampled, not scans"
        " (default: conversion.json of ser-nnunet convert, else every case is a patient)"
    )
    add("--groups", type=Path, metavar="FILE", help=who)
    add("-np", type=processes, metavar="N", help="number of processes (default: every core, as far as memory allows)")
    _add_settings(parser.add_argument_group("metrics and rules (all of them are written into the output)"))


def _add_settings(group: argparse._ArgumentGroup) -> None:
    default = Settings()
    add = group.add_argument
    everything = "groups of metrics to compute, overlap and volumes always among them (default: all groups)"
    add("--metrics", nargs="+", choices=list(GROUPS), default=list(GROUPS), help=everything)
    tolerance = "tolerance of NSD in mm, for all classes or by class (default: 1)"
    add("--tolerance", nargs="+", default=[f"{default.tolerance_mm:g}"], metavar="MM|CLASS=MM", help=tolerance)
    rule = (
        "overlap: a lesion is found if more than MIN-OVERLAP of its voxels are predicted;"
        " iou: one-to-one pairs with an intersection over union above it (default: overlap)"
    )
    add("--detection", choices=DETECTION_RULES, default=default.detection, help=rule)
    defaults = "0 for overlap, which any shared voxel meets; {iou} for iou".format(**DEFAULT_MIN_OVERLAP)
    add(
        "--min-overlap",
        type=decimal(0, 1),
        metavar="F",
        help=f"least overlap of --detection, a fraction in [0, 1] (default: {defaults})",
    )
    small = "number of voxels below which lesions are not counted (default: 1)"
    add("--min-lesion-voxels", type=whole(1, 2**31 - 1), default=default.min_lesion_voxels, metavar="N", help=small)
    strata = "edges of the lesions' size strata, in voxels (default: 10 100)"
    add("--strata", nargs="+", type=whole(2, 2**31 - 1), default=list(default.strata), metavar="N", help=strata)
    counted = (
        "classes whose lesions are counted: their names, all, or off; auto counts those that are named as lesions,"
        " tumours or the like, or have three or more components in most references (default: auto)"
    )
    add("--lesions", nargs="+", default=["auto"], metavar="auto|all|off|CLASS", help=counted)
    empty = "distance that HD, HD95 and ASSD take where just one mask is empty (default: diagonal, that of the image)"
    add("--empty-distance", choices=EMPTY_DISTANCES, default=default.empty_distance, help=empty)
    resamples = "number of bootstrap resamples for the 95 %% confidence intervals (default: 2000)"
    add("--bootstrap", type=whole(100, MOST_RESAMPLES), default=default.bootstrap, metavar="N", help=resamples)
    add("--seed", type=seed, default=default.seed, help="seed of the resampling (default: 0)")


def refuse_ignored(args: argparse.Namespace) -> None:
    """Raise `UserError` for options of metrics that are not computed, with their group."""
    default = Settings()
    off = args.lesions == ["off"]
    without = {
        "surface": "--metrics names no surface metrics",
        "lesions": "--lesions is off" if off else "--metrics names no lesion metrics",
    }
    given = {
        "surface": {
            "--tolerance": args.tolerance != [f"{default.tolerance_mm:g}"],
            "--empty-distance": args.empty_distance != default.empty_distance,
        },
        "lesions": {
            "--lesions": args.lesions != ["auto"] and not off,
            "--detection": args.detection != default.detection,
            "--min-overlap": args.min_overlap is not None,
            "--min-lesion-voxels": args.min_lesion_voxels != default.min_lesion_voxels,
            "--strata": tuple(args.strata) != default.strata,
        },
    }
    problems = []
    for group, options in given.items():
        ignored = [option for option, is_given in options.items() if is_given]
        if ignored and (group not in args.metrics or (off and group == "lesions")):
            problems.append(f"{', '.join(ignored)}: without effect, because {without[group]}; leave out one of the two")
    if problems:
        raise UserError("\n".join(problems))


def run(args: argparse.Namespace) -> int:
    """Evaluate, write the tables, and print the headline metrics."""
    refuse_ignored(args)
    tolerance_mm, class_tolerance_mm = parse_tolerances(args.tolerance)
    off = args.lesions == ["off"]
    chosen: Any = {"auto": "auto", "all": "all", "off": "auto"}.get(" ".join(args.lesions), tuple(args.lesions))
    settings = Settings(
        groups=tuple(name for name in GROUPS if name in args.metrics and not (off and name == "lesions")),
        lesion_classes=chosen,
        tolerance_mm=tolerance_mm,
        class_tolerance_mm=class_tolerance_mm,
        detection=args.detection,
        min_overlap=args.min_overlap,
        min_lesion_voxels=args.min_lesion_voxels,
        strata=tuple(args.strata),
        empty_distance=args.empty_distance,
        bootstrap=args.bootstrap,
        seed=args.seed,
    )
    require_folders([args.ref, args.pred, *args.compare, *([args.images] if args.images else [])])
    from ser_nnunet.evaluation.evaluator import evaluate
    from ser_nnunet.evaluation.result_files import check_output

    check_output(args.o)

    evaluation = evaluate(
        args.ref,
        args.pred,
        dataset_json=args.dataset_json,
        images=args.images,
        compare=args.compare,
        names=args.names,
        cases=args.cases,
        chill=args.chill,
        patients=args.groups,
        settings=settings,
        processes=args.np,
    )
    from ser_nnunet.evaluation.text_tables import format_comparison, format_summary  # imports scipy

    written = evaluation.write(args.o)
    print(printable(format_summary(evaluation)))
    print(printable(f"classes from {evaluation.about['dataset_json']}"))
    if args.compare:
        print(printable(f"\n{format_comparison(evaluation)}"))
    print(f"\nwritten to {args.o}: {', '.join(file.name for file in written)}")
    print(f"for an HTML report with figures: ser-nnunet report {args.o}")
    return 0


def parse_tolerances(words: list[str]) -> tuple[float, dict[str, float]]:
    """Return `(1.0, {"cancer": 8.0})` for `["1", "cancer=8"]`.

    Raises:
        UserError: no number, or none from 0.001 to 10,000 mm.
    """
    general, by_class, read = Settings.tolerance_mm, {}, decimal(0.001, 10_000)
    for word in words:
        name, _, value = word.rpartition("=")
        try:
            millimetres = read(value)
        except argparse.ArgumentTypeError as error:
            raise UserError(f"--tolerance: {error}; expected millimetres, such as 2 or Cancer=8") from error
        if name:
            by_class[name] = millimetres
        else:
            general = millimetres
    return general, by_class
