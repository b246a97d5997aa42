"""Time and peak memory of a conversion of MSLesSeg's real size, beside a plain copy of the same files.

    python -m tests.dataset_conversion.measure_cohort FOLDER

Generates 115 invented scans of 182 x 218 x 182 in FOLDER, copies them, converts them, prints the figures and deletes
everything again. Linux only: memory is read from /proc.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import SimpleITK as sitk
from scipy import ndimage
from tqdm import tqdm

SIZE = (182, 218, 182)
COPY = "import shutil, sys; shutil.copytree(*sys.argv[1:])"
TIME_POINTS = [1] * 28 + [2] * 15 + [3] * 5 + [4] * 5
TEST_PATIENTS = range(54, 76)


class Cost(NamedTuple):
    """What a command took: wall time and processor time in seconds, greatest memory of all its processes in bytes."""

    wall: float
    processor: float
    memory: int


def main(folder: Path) -> None:
    """Generate, copy, convert, print, delete."""
    source = folder / "MSLesSeg Dataset"
    try:
        generate(source)
        size = sum(path.stat().st_size for path in source.rglob("*") if path.is_file())
        print(f"{size / 2**30:.2f} GiB in {sum(1 for _ in source.rglob('*.nii.gz'))} files, {os.cpu_count()} cores")
        copy = measure([sys.executable, "-c", COPY, source, folder / "copy"])
        shutil.rmtree(folder / "copy")
        command = [Path(sys.executable).with_name("ser-nnunet"), "convert", "mslesseg", source, "-d", "901"]
        conversion = measure(command, nnUNet_raw=str(folder / "raw"))
        print("| | wall time | processor time | peak memory of all processes together |\n|---|---|---|---|")
        for name, cost in (("plain copy, from the file cache", copy), ("`ser-nnunet convert mslesseg`", conversion)):
            print(f"| {name} | {cost.wall:.1f} s | {cost.processor:.1f} s | {cost.memory / 2**20:.0f} MiB |")
        ratios = [mine / plain for mine, plain in zip(conversion, copy, strict=True)]
        print(f"| ratio | {ratios[0]:.0f} | {ratios[1]:.0f} | {ratios[2]:.0f} |")
    finally:
        for name in ("copy", "raw", "MSLesSeg Dataset"):
            shutil.rmtree(folder / name, ignore_errors=True)


def generate(source: Path) -> None:
    """Write the cohort in the release's layout, with its clinical table."""
    scans = [(f"P{p}", f"T{t + 1}") for p, count in enumerate(TIME_POINTS, 1) for t in range(count)]
    places = [(source / "train" / patient / t, f"{patient}_{t}") for patient, t in scans]
    places += [(source / "test" / f"P{patient}", f"P{patient}") for patient in TEST_PATIENTS]
    with ProcessPoolExecutor() as pool:
        volumes = list(tqdm(pool.map(_scan, range(len(places)), *zip(*places, strict=True)), total=len(places)))
    rows = ["Patient;Timepoint;Age;Sex;MS Type;EDSS;Lesion Number;Lesion Volume;"]
    for (_, name), volume in zip(places, volumes, strict=True):
        patient, _, t = name.partition("_")
        rows.append(f"{patient};{t or 'T1'};30,5;F;SMRR;1;;{volume}.0;3")
    (source / "info_dataset").mkdir()
    (source / "info_dataset" / "clinical_data.csv").write_text("\n".join(rows) + "\n")


def _scan(seed: int, folder: Path, name: str) -> int:
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    z, y, x = np.ogrid[-1 : 1 : SIZE[2] * 1j, -1 : 1 : SIZE[1] * 1j, -1 : 1 : SIZE[0] * 1j]
    brain = (x / 0.75) ** 2 + (y / 0.8) ** 2 + (z / 0.75) ** 2 < 1
    tissue = ndimage.zoom(rng.normal(size=(24, 28, 24)), (182 / 24, 218 / 28, 182 / 24), order=1)
    for role in ("FLAIR", "T1", "T2"):
        noise = rng.integers(0, 12, SIZE[::-1])
        _save(np.where(brain, np.rint(150 + 40 * tissue) + noise, 0), folder / f"{name}_{role}.nii.gz")
    lesions = brain & (tissue > 2.2)
    _save(lesions, folder / f"{name}_MASK.nii.gz")
    return int(lesions.sum())


def _save(array: np.ndarray, path: Path) -> None:
    image = sitk.GetImageFromArray(array.astype(np.float32))
    image.SetOrigin((-90, 126, -72))
    image.SetDirection((1, 0, 0, 0, -1, 0, 0, 0, 1))
    sitk.WriteImage(image, str(path), useCompression=True, compressionLevel=1)


def measure(command: Sequence[str | Path], **environment: str) -> Cost:
    """Run a command to its end; memory (PSS) and processor time of its processes are sampled 20 times a second."""
    start, peak = time.perf_counter(), 0
    processor: dict[int, float] = {}
    process = subprocess.Popen(command, env={**os.environ, **environment})
    while process.poll() is None:
        family = _family(process.pid)
        processor.update({number: seconds for number in family if (seconds := _processor_time(number))})
        peak = max(peak, sum(_memory(number) for number in family))
        time.sleep(0.05)
    seconds = time.perf_counter() - start
    if process.returncode:
        sys.exit(f"{command[0]} failed")
    return Cost(seconds, sum(processor.values()), peak)


def _processor_time(process: int) -> float:
    """Return user and system time in seconds; children are not included, as those of a fork server are never known."""
    fields = _read(Path(f"/proc/{process}/stat")).rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def _family(process: int) -> list[int]:
    children = [
        int(number) for path in Path(f"/proc/{process}/task").glob("*/children") for number in _read(path).split()
    ]
    return [process, *(number for child in children for number in _family(child))]


def _memory(process: int) -> int:
    lines = _read(Path(f"/proc/{process}/smaps_rollup")).splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


if __name__ == "__main__":
    main(Path(sys.argv[1]))
