"""`ser-nnunet evaluate`: folders of references and predictions -> tables."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ser_nnunet.errors import UserError
from ser_nnunet.evaluation.settings import DEFAULT_MIN_OVERLAP, DETECTION_RULES, EMPTY_DISTANCES, GROUPS, Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Fill the command's parser."""
    folder: dict[str, Any] = {"type": Path, "metavar": "DIR"}
    add = parser.add_argument
    add("-ref", required=True, help="reference segmentations", **folder)
    add("-pred", required=True, help="predicted segmentations, named alike", **folder)
    add("-o", required=True, help="where the tables go", **folder)
    add("--images", help="for the report's pictures (default: imagesTs beside labelsTs and so on)", **folder)
    add("--compare", nargs="+", default=[], help="other methods' predictions of the same cases", **folder)
    add("--names", nargs="+", metavar="NAME", help="of the methods: -pred first, then --compare's")
    where = "names the classes (default: looked for in both folders and their parents)"
    add("--dataset-json", type=Path, metavar="FILE", help=where)
    add("--cases", nargs="+", metavar="CASE", help="evaluate these only")
    add("--chill", action="store_true", help="evaluate the cases that are predicted, instead of insisting on all")
    add("-np", type=int, metavar="N", help="processes (default: every core, as far as memory allows)")
    _add_choices(parser.add_argument_group("what is measured, and how (all of it is written into the output)"))


def _add_choices(group: argparse._ArgumentGroup) -> None:
    default = Settings()
    add = group.add_argument
    everything = "overlap and volumes are always there (default: all)"
    add("--metrics", nargs="+", choices=GROUPS, default=list(GROUPS), help=everything)
    tolerance = "of NSD, for all classes or by class (default: 1 mm)"
    add("--tolerance", nargs="+", default=[f"{default.tolerance_mm:g}"], metavar="MM|CLASS=MM", help=tolerance)
    rule = (
        "overlap: a lesion is found if more than MIN-OVERLAP of it is covered;"
        " iou: one-to-one pairs with an intersection over union above it (default: overlap)"
    )
    add("--detection", choices=DETECTION_RULES, default=default.detection, help=rule)
    defaults = "0 for overlap, which is any voxel; {iou} for iou".format(**DEFAULT_MIN_OVERLAP)
    add("--min-overlap", type=float, metavar="F", help=f"a fraction in [0, 1] (default: {defaults})")
    small = "smaller lesions are not counted (default: 1)"
    add("--min-lesion-voxels", type=int, default=default.min_lesion_voxels, metavar="N", help=small)
    strata = "edges of the lesions' size strata, in voxels (default: 10 100)"
    add("--strata", nargs="+", type=int, default=list(default.strata), metavar="N", help=strata)
    empty = "HD, HD95, ASSD where just one mask is empty (default: the image's diagonal)"
    add("--empty-distance", choices=EMPTY_DISTANCES, default=default.empty_distance, help=empty)
    resamples = "resamples of the 95 %% intervals (default: 2000)"
    add("--bootstrap", type=int, default=default.bootstrap, metavar="N", help=resamples)
    add("--seed", type=int, default=default.seed, help="of the resampling (default: 0)")


def run(args: argparse.Namespace) -> int:
    """Evaluate, write the tables, and show the short ones."""
    settings = settings_from(args)
    from ser_nnunet.evaluation.evaluator import evaluate
    from ser_nnunet.evaluation.text_tables import comparison_table, short_table

    evaluation = evaluate(
        args.ref,
        args.pred,
        dataset_json=args.dataset_json,
        images=args.images,
        compare=args.compare,
        names=args.names,
        cases=args.cases,
        chill=args.chill,
        settings=settings,
        processes=args.np,
    )
    written = evaluation.write(args.o)
    print(short_table(evaluation))
    if args.compare:
        print(f"\n{comparison_table(evaluation)}")
    print(f"\nwritten to {args.o}: {', '.join(file.name for file in written)}")
    print(f"as one page, with pictures: ser-nnunet report {args.o}")
    return 0


def settings_from(args: argparse.Namespace) -> Settings:
    """Return the settings that the arguments ask for."""
    general, by_class = parse_tolerances(args.tolerance)
    return Settings(
        groups=tuple(group for group in GROUPS if group in args.metrics),
        tolerance_mm=general,
        class_tolerance_mm=by_class,
        detection=args.detection,
        min_overlap=args.min_overlap,
        min_lesion_voxels=args.min_lesion_voxels,
        strata=tuple(args.strata),
        empty_distance=args.empty_distance,
        bootstrap=args.bootstrap,
        seed=args.seed,
    )


def parse_tolerances(words: list[str]) -> tuple[float, dict[str, float]]:
    """Return `(1.0, {"cancer": 8.0})` for `["1", "cancer=8"]`.

    Raises:
        UserError: not a number.
    """
    general, by_class = Settings.tolerance_mm, {}
    for word in words:
        name, _, value = word.rpartition("=")
        try:
            millimetres = float(value)
        except ValueError as error:
            raise UserError(f"--tolerance {word}: expected millimetres, such as 2 or Cancer=8") from error
        if name:
            by_class[name] = millimetres
        else:
            general = millimetres
    return general, by_class
