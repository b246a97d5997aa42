"""`python -m tests.hostile_table`: every hostile file in every place, each in a process of its own; prints the counts.

An input is refused well if the command ends with exit status 1 or 2 and a message that names the file, without a
traceback, and no file is changed or left behind. Time and memory are those beyond the imports, which come first.
"""

from __future__ import annotations

import contextlib
import io
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import SimpleITK as sitk
import torch

from ser_nnunet.cli import main
from ser_nnunet.export.exporter import export_model
from ser_nnunet.utils.hashing import file_sha256
from tests.dataset_conversion.builders import LABEL, msd_prostate, pansegdata
from tests.evaluation.cohort import random_label_map, write_cohort
from tests.export.model_folders import unet, write_model_folder
from tests.hostile import IMAGES, JSONS
from tests.runtime.toy import plan, volume

MEMORY = "MEMORY "
LIMIT = 60  # seconds after which a command counts as hanging
NO_GZIP = [name for name in IMAGES if name.startswith(("negative", "no axes", "nine", "unknown", "voxels", "a NaN"))]


class Place(NamedTuple):
    """A good folder, the file in it that is replaced, the command that reads it, and the kinds of files tried."""

    folder: Path
    file: str
    command: Callable[[Path, Path], list[Any]]
    kinds: dict[str, Callable[[Path], object]]
    name: str = ""
    """In the message, if not the file's."""


def places(root: Path) -> dict[str, Place]:
    """Write good inputs below `root`; return the places of hostile ones."""
    arrays = {name: random_label_map(seed) for seed, name in enumerate("ab")}
    write_cohort(root / "cohort", arrays, {name: np.roll(array, 1) for name, array in arrays.items()})
    sample, decathlon = pansegdata(root / "panseg", "T2"), msd_prostate(root / "msd")
    files = {role: sample.files[sample.cases[0], role].relative_to(sample.source) for role in ("T2", LABEL)}
    (root / "images").mkdir()
    sitk.WriteImage(sitk.GetImageFromArray(volume()[0]), str(root / "images" / "b_0000.nii.gz"))
    planned = plan(architecture=unet(2, 2, 4))
    (root / "model").mkdir()
    export_model(write_model_folder(root / "A__B__2d", planned), root / "model" / "model.pyz")
    assert main(list(map(str, evaluate(root / "cohort", root / "evaluated" / "out")))) == 0
    without_nan = {name: make for name, make in IMAGES.items() if name != "a NaN"}  # 0 for predict, as for nnU-Net
    parts = {name: make for name, make in IMAGES.items() if name not in NO_GZIP}
    model = str(root / "model" / "model.pyz")

    def convert(dataset: str) -> Callable[[Path, Path], list[Any]]:
        options = ["-d", 701, "-np", 1, "--allow-partial", *(["--channels", "T2"] if dataset == "pansegdata" else [])]
        return lambda folder, out: ["convert", dataset, folder, *options]

    def predict(folder: Path, out: Path) -> list[Any]:
        return ["predict", "-m", model, "-i", folder, "-o", out, "--threads", 1]

    def predict_with(folder: Path, out: Path) -> list[Any]:
        return ["predict", "-m", folder / "model.pyz", "-i", root / "images", "-o", out]

    case = sample.cases[0]
    return {
        "evaluate, prediction": Place(root / "cohort", "pred0/b.nii.gz", evaluate, IMAGES),
        "evaluate, reference": Place(root / "cohort", "labelsTr/b.nii.gz", evaluate, IMAGES),
        "evaluate, dataset.json": Place(root / "cohort", "dataset.json", evaluate, JSONS),
        "convert, image": Place(sample.source, str(files["T2"]), convert("pansegdata"), IMAGES, case),
        "convert, label": Place(sample.source, str(files[LABEL]), convert("pansegdata"), IMAGES, case),
        "convert, dataset.json": Place(decathlon.source, "dataset.json", convert("msd"), JSONS),
        "report, evaluation.json": Place(
            root / "evaluated", "out/evaluation.json", lambda folder, out: ["report", folder / "out"], JSONS
        ),
        "predict, image": Place(root / "images", "b_0000.nii.gz", predict, without_nan, "b"),
        "predict, model": Place(root / "model", "model.pyz", predict_with, parts),
        "check-model, model": Place(
            root / "model", "model.pyz", lambda folder, out: ["check-model", folder / "model.pyz"], parts
        ),
    }


def evaluate(folder: Path, out: Path) -> list[Any]:
    folders = ["-ref", folder / "labelsTr", "-pred", folder / "pred0", "-o", out, "-np", 1]
    return ["evaluate", *folders, "--metrics", "overlap", "--bootstrap", 100]


def snapshot(folder: Path) -> dict[str, str]:
    return {str(path): file_sha256(path) for path in folder.rglob("*") if path.is_file() and not path.is_symlink()}


def read_memory(name: str) -> int:
    """Return a figure of /proc/self/status in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{name}:"))


def try_input(place: Place, kind: str, work: Path) -> tuple[str, float, int]:
    """Return what fell short (empty: nothing), the seconds of processor time, and the bytes of memory it took more."""
    folder, out = work / "in", work / "out"
    shutil.copytree(place.folder, folder)
    place.kinds[kind](folder / place.file)
    before = snapshot(folder)
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.dup2(writer, 2)
        os.dup2(writer, 1)
        os.environ |= {f"nnUNet_{name}": str(work / name) for name in ("raw", "preprocessed", "results")}
        sys.stderr, sys.stdout = os.fdopen(2, "w", closefd=False), os.fdopen(1, "w", closefd=False)
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
        status, resident = 70, read_memory("VmRSS")
        try:
            status = main(list(map(str, place.command(folder, out))))
        finally:
            sys.stdout.flush()
            print(f"\n{MEMORY}{read_memory('VmHWM') - resident}", file=sys.stderr, flush=True)
            os._exit(status)
    os.close(writer)
    end = time.monotonic() + LIMIT
    found, status, usage = 0, 0, resource.getrusage(resource.RUSAGE_SELF)
    while not found and time.monotonic() < end:
        found, status, usage = os.wait4(child, os.WNOHANG)
        time.sleep(0.01)
    if not found:
        os.kill(child, 9)
        os.waitpid(child, 0)
        return "it hung", LIMIT, 0
    with os.fdopen(reader, "rb") as stream:
        shown, _, memory = stream.read().decode(errors="replace").partition(MEMORY)
    problems = {
        f"exit status {status >> 8 or -status}": status >> 8 not in (1, 2),
        "the file is not named": (place.name or Path(place.file).name) not in shown,
        "a traceback": "Traceback" in shown or "unexpected" in shown,
        "a file was changed": snapshot(folder) != before,
        "a result was left": any(path.suffix != ".json" for path in out.rglob("*")) or (work / "raw").exists(),
    }
    return (
        ", ".join(problem for problem, wrong in problems.items() if wrong),
        usage.ru_utime + usage.ru_stime,
        int(memory),
    )


def run() -> None:
    torch.set_num_threads(1)  # threads don't survive a fork
    with tempfile.TemporaryDirectory() as folder:
        with contextlib.redirect_stdout(io.StringIO()):
            found = places(Path(folder) / "good")
            for place in found.values():  # the imports of every command
                with contextlib.redirect_stderr(io.StringIO()):
                    work = Path(folder) / "warm"
                    shutil.copytree(place.folder, work / "in")
                    place.kinds["empty"](work / "in" / place.file)
                    main(list(map(str, place.command(work / "in", work / "out"))))
                    shutil.rmtree(work)
        tried = short = 0
        slowest, largest = (0.0, ""), (0, "")
        for name, place in found.items():
            failures = []
            for kind in place.kinds:
                work = Path(folder) / "work"
                problem, seconds, memory = try_input(place, kind, work)
                shutil.rmtree(work)
                slowest, largest = max(slowest, (seconds, f"{name}: {kind}")), max(largest, (memory, f"{name}: {kind}"))
                failures += [f"  {kind}: {problem}"] if problem else []
            tried, short = tried + len(place.kinds), short + len(failures)
            print(f"{name}: {len(place.kinds)} tried, {len(failures)} fell short", *failures, sep="\n", flush=True)
        print(f"{tried} tried, {tried - short} refused well, {short} fell short")
        print(f"slowest: {slowest[0]:.2f} s of processor time ({slowest[1]})")
        print(f"most memory: {largest[0] / 1e6:.0f} MB beyond the imports' ({largest[1]})")


if __name__ == "__main__":
    run()
