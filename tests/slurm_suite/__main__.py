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

CONFIGURATIONS = ("2d", "3d_fullres", "3d_lowres", "3d_cascade_fullres")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.slurm_suite", description=__doc__)
    parser.add_argument("scenarios", nargs="*", choices=[*SCENARIOS, []], default=list(SCENARIOS))
    parser.add_argument("--folder", type=Path, help="keep everything here; an earlier folder's data set is used again")
    args = parser.parse_args(arguments)
    if reason := why_not():
        print(f"skipped: {reason}")
        return 0
    failed = []
    with tempfile.TemporaryDirectory(prefix="slurm_suite_") as temporary:
        folder = (args.folder or Path(temporary)).resolve()
        place = open_workplace(folder, 10, CONFIGURATIONS)
        for name in args.scenarios or SCENARIOS:
            print(f"=== {name}: {SCENARIOS[name].__doc__}\n", flush=True)
            begin = time.monotonic()
            cluster = SlurmCluster(Path(tempfile.mkdtemp(prefix="slurm_")), cpus=2)
            try:
                cluster.start()
                SCENARIOS[name](place, cluster)
            except Exception:
                traceback.print_exc(file=sys.stdout)
                failed.append(name)
            finally:
                cluster.stop()
            state = "FAILED" if name in failed else "ok"
            print(f"=== {name}: {state}, {time.monotonic() - begin:.0f} s\n", flush=True)
    print(
        f"{len(failed)} of {len(args.scenarios or SCENARIOS)} scenarios failed: {failed}"
        if failed
        else "all scenarios ok"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
