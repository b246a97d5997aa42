"""`python -m tests.kill_commands [TIMES [COMMAND ...]]`: kill -9 at random moments of every command that writes.

The next run must give what an undisturbed run gives, and leave nothing else: the same bytes, or the same files with
the same rows where a command measures times or trains. Prints a line per command. The demo takes minutes per run.
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import SimpleITK as sitk

from ser_nnunet.runtime.model_file import MANIFEST
from tests.benchmark.tiny_dataset import NAME, write_plans
from tests.dataset_conversion.builders import multisite_prostate
from tests.evaluation.cohort import random_label_map, write_cohort
from tests.export.model_folders import unet, write_model_folder
from tests.runtime.toy import plan, volume

DATES = re.compile(rb'"date": "[^"]*"|\d{4}-\d\d-\d\dT[\d:+]+')
STAMPS = re.compile(r"\d{4}(_\d+)+")  # in the names of nnU-Net's logs


NEEDS = {"report": "evaluate", "predict": "export", "compare": "export"}
"""Command -> the one whose result it reads."""


class Killed(NamedTuple):
    """A command, the folder that it writes, how results are compared, and what a run after a kill adds."""

    arguments: list[str]
    written: Path
    compare: Callable[[Path], dict[str, object]]
    again: tuple[str, ...] = ()


def content(folder: Path) -> dict[str, object]:
    """Return the files of a folder, and the parts of exported models, without the dates in them."""
    found: dict[str, object] = {}
    for path in folder.rglob("*"):
        if path.suffix == ".pyz":
            with zipfile.ZipFile(path) as archive:  # the manifest holds the SHA-256 of the card, which has a date
                parts = {name: archive.read(name) for name in archive.namelist() if name != MANIFEST}
            found[str(path.relative_to(folder))] = {name: DATES.sub(b"", part) for name, part in parts.items()}
        elif path.is_file():
            found[str(path.relative_to(folder))] = DATES.sub(b"", path.read_bytes())
    return found


def rows(folder: Path) -> dict[str, object]:
    """Return the files of a folder; of tables the header and the first column, which hold no times.

    lesions.csv has a row per predicted lesion, so that its rows depend on the weights: its header alone.
    """
    found: dict[str, object] = {}
    for path in folder.rglob("*"):
        if path.is_file():
            name = STAMPS.sub("", str(path.relative_to(folder)))
            lines = path.read_text(encoding="utf-8").splitlines() if path.suffix == ".csv" else []
            kept = [] if path.name == "lesions.csv" else lines[1:]
            found[name] = lines[:1] + [line.split(",")[0] for line in kept]
    return found


def prepare(root: Path) -> dict[str, Killed]:
    """Write inputs; return the commands in an order in which later ones read what earlier ones wrote."""
    source = multisite_prostate(root / "source").source
    arrays = {name: random_label_map(seed, shape=(40, 90, 80)) for seed, name in enumerate("abcd")}
    cohort = write_cohort(root / "cohort", arrays, {name: np.roll(array, 1) for name, array in arrays.items()})
    folders = ["-ref", str(cohort / "labelsTr"), "-pred", str(cohort / "pred0"), "-o", str(root / "out")]
    planned = plan((16, 12), (1.2, 1.2), schemes=("ZScoreNormalization",), masks=(True,), architecture=unet(2, 2, 4))
    model = str(write_model_folder(root / "models" / "nnUNetTrainer__nnUNetPlans__2d", planned))
    (root / "images").mkdir()
    for seed in range(8):
        image = sitk.GetImageFromArray(volume(channels=1, seed=seed)[0])
        sitk.WriteImage(image, str(root / "images" / f"case{seed}_0000.nii.gz"))
    file, images = str(root / "exported" / "model.pyz"), str(root / "images")
    (root / "plans").mkdir()
    plans = ["-plans", str(write_plans(root / "plans")), "-device", "cpu"]
    few = ["--rounds", "2", "--threads", "1"]
    accuracy = ["-d", "1", "-device", "cpu", "--baselines", "nnUNetTrainer", "-tr", "SERTrainerNoSAM", "--epochs", "3"]
    demo = ["--patients", "6", "--test-patients", "2", "--spacing", "3", "--device", "cpu"]

    def benchmark(kind: str, *arguments: str) -> Killed:
        return Killed(["benchmark", kind, *arguments, "-o", str(root / kind)], root / kind, rows)

    return {
        "convert": Killed(
            ["convert", "multisite-prostate", str(source), "-d", "701", "--allow-partial"],
            root / "raw",
            content,
            ("--overwrite",),
        ),
        "evaluate": Killed(["evaluate", *folders, "--bootstrap", "100", "-np", "2"], root / "out", content),
        "report": Killed(["report", str(root / "out")], root / "out", content),
        "export": Killed(["export", model, "-o", file], root / "exported", content),
        "predict": Killed(
            ["predict", "-m", file, "-i", images, "-o", str(root / "masks"), "--threads", "1"], root / "masks", content
        ),
        "size": benchmark("size", *plans, "--no-memory"),
        "speed": benchmark("speed", *plans, *few, "--warmup", "0", "--slices", "1"),
        "compare": Killed(
            ["benchmark", "predict", "-i", images, "-m", file, "--folders", model, *few, "-o", str(root / "compare")],
            root / "compare",
            rows,
        ),
        "accuracy": benchmark("accuracy", *accuracy, "--iterations", "4", "--save-every", "1"),
        "proxy-sam": benchmark("proxy-sam", "-d", "1", "--steps", "10", "--image-size", "64", "-device", "cpu"),
        "demo": Killed(["demo", "--folder", str(root / "demo"), *demo], root / "demo", rows),
    }


def write_preprocessed(root: Path) -> None:
    """Write the tiny data set that `benchmark accuracy` trains on."""
    from tests.benchmark.conftest import preprocess_tiny

    if not (root / "preprocessed" / NAME).exists():
        preprocess_tiny(root / "preprocessed")


def start(arguments: list[str], root: Path) -> subprocess.Popen[bytes]:
    folders = {f"nnUNet_{name}": str(root / name) for name in ("raw", "preprocessed", "results")}
    single = {"OMP_NUM_THREADS": "1", "nnUNet_n_proc_DA": "1", "nnUNet_def_n_proc": "1"}
    command = [sys.executable, "-m", "ser_nnunet.cli", *arguments]
    environment = {**os.environ, **folders, **single}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def run(arguments: list[str], root: Path) -> float:
    """Run a command to its end; return the seconds."""
    begin = time.monotonic()
    process = start(arguments, root)
    output, _ = process.communicate()
    if process.returncode:
        sys.exit(f"{arguments[:2]} ended with {process.returncode}:\n{output.decode(errors='replace')[-3000:]}")
    return time.monotonic() - begin


def kill_at(seconds: float, arguments: list[str], root: Path) -> None:
    """Start a command and kill it, and it alone, after some seconds."""
    process = start(arguments, root)
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def main(times: int, names: list[str]) -> None:
    generator = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_preprocessed(root)
        commands = prepare(root)
        for name, killed in commands.items():
            if names and name not in names:
                continue
            if (needed := NEEDS.get(name)) and not commands[needed].written.exists():
                run(commands[needed].arguments, root)
            seconds = run(killed.arguments, root)
            expected = killed.compare(killed.written)
            again = [*killed.arguments, *killed.again]
            for _ in range(times):
                if name in ("predict", "accuracy"):  # which skip what is there
                    subprocess.run(["rm", "-r", str(killed.written)], check=True)
                kill_at(generator.uniform(0.3, 1.0) * seconds, again, root)
                run(again, root)
                found = killed.compare(killed.written)
                if found != expected:
                    different = {key for key in {*found, *expected} if found.get(key) != expected.get(key)}
                    sys.exit(f"{name}: other results after a kill: {sorted(different)[:10]}")
            print(f"{name}: killed {times} times within {seconds:.1f} s, the next run was right every time", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10, sys.argv[2:])
