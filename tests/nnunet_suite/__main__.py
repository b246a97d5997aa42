"""`python -m tests.nnunet_suite`: nnU-Net's integration tests with SER's trainers, on small synthetic data sets."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests import conftest  # noqa: F401 (first: it sets OpenMP's variables, which torch reads when it is imported)
from tests.nnunet_forked import ForkedWorkplace
from tests.nnunet_suite.kinds import KINDS, prepare, write_hippocampus
from tests.nnunet_suite.matrix import STEPS, Matrix, shorten
from tests.nnunet_suite.series import CONFIGURATIONS, PREVIOUS_STAGE, Series
from tests.nnunet_suite.short_trainers import GUIDED, NO_SAM, SOURCE
from tests.nnunet_workplace import CommandError, Workplace

CASES = 6


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.nnunet_suite", description=__doc__)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="data sets")
    parser.add_argument("--configurations", nargs="+", choices=CONFIGURATIONS, default=list(CONFIGURATIONS))
    parser.add_argument("--folds", choices=["all", "2", "3", "4", "5"], default="2", help="number of folds, or 'all'")
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS))
    parser.add_argument("--trainers", nargs="+", choices=[NO_SAM, GUIDED], default=[NO_SAM, GUIDED])
    parser.add_argument("--processes", type=int, default=2, help="commands at a time")
    parser.add_argument("--folder", type=Path, help="keep everything that is written in this new folder")
    parser.add_argument("--fork", action="store_true", help="import nnU-Net once, and fork commands one at a time")
    args = parser.parse_args(arguments)
    args.configurations = [name for name in CONFIGURATIONS if name in args.configurations]
    missing = {PREVIOUS_STAGE.get(name) for name in args.configurations} - {None, *args.configurations}
    if missing:
        parser.error(f"3d_cascade_fullres needs {', '.join(missing)}")
    if args.folder is not None and args.folder.exists():
        parser.error(f"{args.folder} exists; trained models in it would not be trained again")
    return args


def plan_series(args: argparse.Namespace, workplace: Workplace, matrix: Matrix) -> list[Series]:
    """Return what is trained: every data set without SAM, the first one also with a dummy SAM.

    nnU-Net keeps one choice of the best configuration per data set, which is made without SAM.
    """
    folds = ["all"] if args.folds == "all" else [str(fold) for fold in range(int(args.folds))]
    series = []
    if NO_SAM in args.trainers:
        for kind in args.kinds:
            complete = args.folds != "all"
            series.append(Series(workplace, matrix, kind, NO_SAM, args.configurations, folds, complete))
    if GUIDED in args.trainers:
        series.append(Series(workplace, matrix, args.kinds[0], GUIDED, args.configurations, folds, complete=False))
    return series


def run_suite(args: argparse.Namespace, folder: Path) -> Matrix:
    """Prepare the data sets, run all series and return their outcomes."""
    workplace = (ForkedWorkplace if args.fork else Workplace)(folder, SOURCE)
    matrix = Matrix(tuple(step for step in STEPS if step in args.steps))
    write_hippocampus(folder / "raw", CASES, None if args.folds in ("all", "5") else int(args.folds))
    prepare(workplace, args.kinds, args.configurations)
    print(f"{len(args.kinds)} data sets planned and preprocessed", flush=True)
    series = plan_series(args, workplace, matrix)
    if args.fork:  # from the main thread alone: forks would inherit the pool's threads as if they ran
        for each in series:
            each.run()
    else:
        with ThreadPoolExecutor(args.processes) as pool:
            list(pool.map(Series.run, series))
    return matrix


def main(arguments: list[str] | None = None) -> int:
    args = parse(arguments)
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="nnunet_suite_") as temporary:
        try:
            matrix = run_suite(args, (args.folder or Path(temporary)).resolve())
        except CommandError as error:
            print(f"the data sets could not be prepared:\n{shorten(str(error))}")
            return 1
    minutes, seconds = divmod(round(time.monotonic() - start), 60)
    used = os.times()
    print(f"\n{matrix.table()}\n\n{minutes} min {seconds} s; {used.children_user + used.children_system:.0f} s of CPU")
    print(matrix.report_failures())
    return 0 if matrix.succeeded else 1


if __name__ == "__main__":
    sys.exit(main())
