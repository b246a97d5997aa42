"""Predicting many cases: reading the next and writing the last one while the present one is computed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ser_nnunet.errors import UserError
from ser_nnunet.runtime.input_cases import InputCase, find_cases
from ser_nnunet.runtime.input_checks import check_scan, warnings_about
from ser_nnunet.runtime.model import Model
from ser_nnunet.runtime.prediction_record import PredictionRecord
from ser_nnunet.runtime.progress import Progress
from ser_nnunet.runtime.requirements import available_readers
from ser_nnunet.runtime.scan import Grid, Scan
from ser_nnunet.utils.nifti_header import is_nifti

CHANNELS_AT_ONCE = 4  # that are read: decompressing them takes a sixth of the time of a case


@dataclass
class Outcome:
    """What became of the cases; `failed` and `warnings` by case."""

    written: list[Path] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    warnings: dict[str, list[str]] = field(default_factory=dict)


def predict_cases(model: Model, inputs: Sequence[Path], output: Path, overwrite: bool = False) -> Outcome:
    """Write a mask for every case; cases whose mask is there already are skipped.

    A case that fails doesn't stop the others. Masks appear under their names when they are complete; an earlier one
    stays until then.

    Args:
        model: the model and its settings.
        inputs: see `find_cases`.
        output: folder, created if missing.
        overwrite: predict cases again that have a mask.

    Raises:
        UserError: no images, masks that would replace them or lie in their folder, or masks of another model or other
            settings in `output`.
    """
    cases = find_cases(inputs, model.recipe)
    targets = {case.name: output / f"{case.name}{case.ending}" for case in cases}
    # os.path.realpath: Path.resolve raises an exception for links in a circle
    images = {os.path.realpath(path) for case in cases for path in case.images}
    replaced = [target.name for target in targets.values() if os.path.realpath(target) in images]
    if replaced:
        raise UserError(f"masks would replace the images {', '.join(replaced)}: choose another output folder")
    if any(path.is_dir() and os.path.realpath(path) == os.path.realpath(output) for path in inputs):
        raise UserError(f"{output} is the folder of the images, where masks would pass for images: choose another one")
    record = PredictionRecord(model, output, list(targets.values()), overwrite)
    record.write()
    outcome = Outcome()
    outcome.skipped = [case.name for case in cases if record.is_done(targets[case.name])]
    outcome.failed = {case.name: case.problem for case in cases if case.problem}
    waiting = [case for case in cases if case.name not in {*outcome.skipped, *outcome.failed}]
    progress = Progress(len(waiting))
    writes: dict[str, Future[None]] = {}
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        upcoming = reader.submit(read_case, model, waiting[0]) if waiting else None
        with contextlib.suppress(Exception):  # the first case would raise it again
            if waiting:
                model.preload()
        for case, following in zip(waiting, [*waiting[1:], None], strict=False):
            assert upcoming is not None
            reading, upcoming = upcoming, reader.submit(read_case, model, following) if following else None
            try:
                mask, grid = _predict(model, case.name, reading, outcome, progress)
                writes[case.name] = writer.submit(_write, mask, grid, targets[case.name], record)
            except Exception as error:  # one broken case must not stop the others
                outcome.failed[case.name] = _describe(error)
                progress.note(f"{case.name}: failed: {outcome.failed[case.name]}")
            progress.done += 1
    for name, write in writes.items():
        failure = write.exception()
        if failure is None:
            outcome.written.append(targets[name])
        else:
            outcome.failed[name] = _describe(failure)
    for name in outcome.failed:
        if targets[name].name in record.earlier:
            outcome.failed[name] += f"\n{targets[name].name} of another model or of other settings is still there"
    return outcome


def _predict(
    model: Model, name: str, reading: Future[Scan], outcome: Outcome, progress: Progress
) -> tuple[np.ndarray, Grid]:
    """Return the mask of a case and its grid; note what the user should know of it."""
    scan = reading.result()
    check_scan(scan, model.recipe)
    if found := warnings_about(scan, model.recipe):
        outcome.warnings[name] = found
        progress.note("\n".join(f"{name}: warning: {each}" for each in found))
    mask = model.segment(scan, lambda part: progress.update(name, part))
    assert scan.grid is not None
    return mask, scan.grid


def read_case(model: Model, case: InputCase) -> Scan:
    """Read a case's images, with SimpleITK, or nibabel where it isn't there or can't; raises `UserError`."""
    from ser_nnunet.runtime.nifti_io import read_nifti_scan

    if available_readers()[0] != "SimpleITK":
        return read_nifti_scan(case.images, model.recipe)
    from ser_nnunet.runtime.image_io import DirectionsError, read_image, scan_from_images

    files = all(path.is_file() for path in case.images)  # nothing is known of reading DICOM series in threads
    try:
        with ThreadPoolExecutor(CHANNELS_AT_ONCE if files else 1) as threads:
            images = list(threads.map(read_image, case.images))
    except DirectionsError:
        if "nibabel" in available_readers() and not model.recipe.reorient and all(map(is_nifti, case.images)):
            return read_nifti_scan(case.images, model.recipe)
        raise
    return scan_from_images(images, [path.name for path in case.images], model.recipe)


def _write(mask: np.ndarray, grid: Grid, path: Path, record: PredictionRecord) -> None:
    write_mask(mask, grid, path)
    record.note_written(path)


def write_mask(mask: np.ndarray, grid: Grid, path: Path) -> None:
    """Write a mask `(z, y, x)` on the grid of its image, as the one who read the image does."""
    if grid.source is None:
        from ser_nnunet.runtime.image_io import mask_image, write_image

        write_image(mask_image(mask, grid), path)
    else:
        from ser_nnunet.runtime.nifti_io import write_nifti_mask

        write_nifti_mask(mask, grid, path)


def _describe(error: BaseException) -> str:
    return str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
