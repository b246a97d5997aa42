"""`python -m tests.kill_commands [TIMES]`: kill -9 at random moments of every command that writes, then run it again.

The second run must give what an undisturbed run gives, and leave nothing else. Prints a line per command.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from tests.dataset_conversion.builders import multisite_prostate
from tests.evaluation.cohort import random_label_map, write_cohort

DATES = re.compile(rb'"date": "[^"]*"|\d{4}-\d\d-\d\dT[\d:+]+')


def prepare(root: Path) -> dict[str, tuple[list[str], Path]]:
    """Write inputs; return command -> arguments, and the folder that it writes."""
    source = multisite_prostate(root / "source").source
    arrays = {name: random_label_map(seed, shape=(40, 90, 80)) for seed, name in enumerate("abcd")}
    cohort = write_cohort(root / "cohort", arrays, {name: np.roll(array, 1) for name, array in arrays.items()})
    folders = ["-ref", str(cohort / "labelsTr"), "-pred", str(cohort / "pred0"), "-o", str(root / "out")]
    return {
        "convert": (["convert", "multisite-prostate", str(source), "-d", "701", "--allow-partial"], root / "raw"),
        "evaluate": (["evaluate", *folders, "--bootstrap", "100", "-np", "2"], root / "out"),
        "report": (["report", str(root / "out")], root / "out"),
    }


def start(arguments: list[str], root: Path) -> subprocess.Popen[bytes]:
    variables = {**os.environ, "nnUNet_raw": str(root / "raw"), "nnUNet_preprocessed": "", "nnUNet_results": ""}
    command = [sys.executable, "-m", "ser_nnunet.cli", *arguments]
    return subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def run(arguments: list[str], root: Path) -> float:
    """Run a command to its end; return the seconds."""
    begin = time.monotonic()
    process = start(arguments, root)
    output, _ = process.communicate()
    if process.returncode:
        sys.exit(f"{arguments[0]} ended with {process.returncode}:\n{output.decode(errors='replace')}")
    return time.monotonic() - begin


def content(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder without the dates in them."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): DATES.sub(b"", path.read_bytes()) for path in files}


def main(times: int) -> None:
    generator = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, (arguments, written) in prepare(root).items():
            seconds = run(arguments, root)
            expected = content(written)
            again = [*arguments, "--overwrite"] if name == "convert" else arguments
            for _ in range(times):
                process = start(again, root)
                time.sleep(generator.uniform(0.3, 1.0) * seconds)
                process.kill()
                process.communicate()
                run(again, root)
                if content(written) != expected:
                    sys.exit(f"{name}: {sorted(content(written).items() ^ expected.items())[:3]}")
            print(f"{name}: killed {times} times within {seconds:.1f} s, the next run was right every time", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
