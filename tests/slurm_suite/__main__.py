"""`python -m tests.slurm_suite`: crossval on a real SLURM of one node, and everything that can happen to it there."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tests import conftest  # noqa: F401 (first: it sets OpenMP's variables, which torch reads when it is imported)
from tests.slurm_suite.place import open_workplace
from tests.slurm_suite.scenarios import SCENARIOS
from tests.slurm_suite.slurm_cluster import SlurmCluster, why_not
from tests.slurm_suite.toy_scenarios import TOY_SCENARIOS

CONFIGURATIONS = ("2d", "3d_fullres", "3d_lowres", "3d_cascade_fullres")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.slurm_suite", description=__doc__)
    every = [*TOY_SCENARIOS, *SCENARIOS]
    parser.add_argument("scenarios", nargs="*", help=f"default: all of {', '.join(every)}")
    parser.add_argument("--folder", type=Path, help="keep everything here; an earlier folder's data set is used again")
    args = parser.parse_args(arguments)
    if unknown := set(args.scenarios) - set(every):
        parser.error(f"unknown: {', '.join(unknown)}")
    if reason := why_not():
        print(f"skipped: {reason}")
        return 0
    with tempfile.TemporaryDirectory(prefix="slurm_suite_") as temporary:
        folder = (args.folder or Path(temporary)).resolve()
        failed = [name for name in args.scenarios or every if not succeeds(name, folder)]
    print(f"failed: {', '.join(failed)}" if failed else "all scenarios ok")
    return 1 if failed else 0


def succeeds(name: str, folder: Path) -> bool:
    """Run a scenario on a SLURM of its own."""
    toy, begin, error = TOY_SCENARIOS.get(name), time.monotonic(), None
    print(f"=== {name}: {(toy or SCENARIOS[name]).__doc__}\n", flush=True)
    cluster = SlurmCluster(Path(tempfile.mkdtemp(prefix="slurm_")), cpus=2)
    try:
        place = None if toy else open_workplace(folder, 10, CONFIGURATIONS)
        cluster.start()
        toy(cluster) if toy else SCENARIOS[name](place, cluster)
    except Exception as caught:
        error = caught
        traceback.print_exc(file=sys.stdout)
    finally:
        cluster.stop()
    print(f"=== {name}: {'FAILED' if error else 'ok'}, {time.monotonic() - begin:.0f} s\n", flush=True)
    return error is None


if __name__ == "__main__":
    sys.exit(main())
