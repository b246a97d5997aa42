"""Which faults are found by our converters, by nnUNetv2_convert_MSD_dataset and by --verify_dataset_integrity?

    python -m tests.dataset_conversion.compare_with_nnunet docs/fault-table.md

Plants every fault into a sample data set, runs all three, and writes the table. Takes some minutes: nnU-Net starts
worker processes for every run.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import SimpleITK as sitk
from tqdm import tqdm

from ser_nnunet.dataset_conversion import ConversionError
from ser_nnunet.dataset_conversion.core.splits import split_by_patient
from tests.dataset_conversion import faults
from tests.dataset_conversion.builders import (
    LABEL,
    SampleDataset,
    msd_pancreas,
    msd_prostate,
    mslesseg,
    multisite_letters,
    pancreas_dicom,
    promise12,
)
from tests.dataset_conversion.helpers import convert_sample, find_divided_patients, mslesseg_cases

DATASET = 5
FOUND, WARNED, MISSED, OTHER = "found", "warned", "**missed**", "-"


class Row(NamedTuple):
    """One class of faults, the data set it is planted into, and how."""

    fault: str
    builder: Callable[[Path], SampleDataset]
    plant: Callable[[SampleDataset], faults.ExpectedProblem]


ROWS = (
    Row("a channel's file is missing", mslesseg, faults.missing_channel),
    Row("a 4D image has too few channels", msd_prostate, faults.missing_component),
    Row("a 4D image has too many channels", msd_prostate, faults.extra_component),
    Row("label without image", msd_pancreas, faults.label_without_image),
    Row("image without label", msd_pancreas, faults.image_without_label),
    Row("a case twice, in two folders", mslesseg, faults.duplicate_case),
    Row("`.nii` beside `.nii.gz` with other voxels", msd_pancreas, faults.uncompressed_copy_differs),
    Row("fewer cases than dataset.json lists", msd_prostate, faults.case_lost),
    Row("shape of the label", msd_pancreas, faults.other_shape),
    Row("spacing of the label (5 %)", msd_pancreas, faults.other_spacing),
    Row("origin of the label (0.35 mm)", msd_pancreas, faults.other_origin),
    Row("direction of the label (mirrored axis)", msd_pancreas, faults.other_direction),
    Row("origin of one channel (1.7 mm)", mslesseg, faults.channel_elsewhere),
    Row("label values that are no integers", msd_pancreas, faults.half_label),
    Row("undeclared label values", msd_pancreas, faults.unknown_value),
    Row("empty mask", msd_pancreas, faults.empty_mask),
    Row("NaN in an image", msd_pancreas, faults.nan_voxel),
    Row("Inf in an image", msd_pancreas, faults.inf_voxel),
    Row("image of one value", msd_pancreas, faults.constant_image),
    Row("image of one value in imagesTs", msd_pancreas, faults.constant_test_image),
    Row("the same image under two names", msd_pancreas, faults.same_image_twice),
    Row("the same label under two names", msd_pancreas, faults.same_label_twice),
    Row("the same image in train and test", msd_pancreas, faults.same_image_in_train_and_test),
    Row("the same label in train and test", mslesseg, faults.same_label_in_train_and_test),
    Row("the same image under two names, its axes stored otherwise", mslesseg, faults.same_image_stored_otherwise),
    Row("label without image in the test part", promise12, faults.label_without_test_image),
    Row("image without label in a test part that has labels", promise12, faults.unlabelled_test_image),
    Row("truncated file", msd_pancreas, faults.truncated_label),
    Row("patient in train and test", mslesseg, faults.patient_on_both_sides),
    Row("mask volume is not the published one", mslesseg, faults.other_volume),
    Row("CT: mask flipped", msd_pancreas, faults.mask_flipped),
    Row("CT: mask in air", msd_pancreas, faults.mask_in_air),
    Row("DICOM: a slice is missing", pancreas_dicom, faults.slice_lost),
    Row("DICOM: a slice has no position", pancreas_dicom, faults.slice_without_position),
    Row("DICOM: a second series", pancreas_dicom, faults.second_series),
    Row("MetaImage: the `.raw` is missing", promise12, faults.raw_file_lost),
    Row("MetaImage: the `.mhd` is a link whose target is missing", promise12, faults.dangling_link),
    Row("multi-site prostate, `Site-A` to `Site-F`: geometry of the label", multisite_letters, faults.other_origin),
    Row("multi-site prostate, `Site-A` to `Site-F`: a mask twice", multisite_letters, faults.same_label_twice),
)


def main(target: Path) -> None:
    """Run all rows and write the table; details go to standard error."""
    lines = ["| fault | `ser-nnunet convert` | `nnUNetv2_convert_MSD_dataset` | `--verify_dataset_integrity` |"]
    lines.append("|---|---|---|---|")
    for row in tqdm(ROWS, unit="fault"):
        with tempfile.TemporaryDirectory() as folder:
            verdicts = _compare(row, Path(folder))
        lines.append(f"| {row.fault} | {' | '.join(verdicts)} |")
        tqdm.write(lines[-1], file=sys.stderr)
    lines.append(_compare_folds())
    _, mark, rest = (target.read_text(encoding="utf-8") if target.exists() else "").partition(SECOND_PART)
    target.write_text(HEADER + "\n".join(lines) + "\n" + mark + rest, encoding="utf-8")


def _compare_folds() -> str:
    """The row of the folds: nnU-Net's own random split, which training falls back on, against ours."""
    from nnunetv2.utilities.crossval_split import generate_crossval_split

    cases = mslesseg_cases()
    theirs = generate_crossval_split(sorted(case.name for case in cases), seed=12345, n_splits=5)
    divided = [len(find_divided_patients(folds, cases)) for folds in (split_by_patient(cases), theirs)]
    verdict = "prevented" if divided[0] == 0 else MISSED
    return (
        f"| folds divide patients (MSLesSeg's 93 training scans; 25 patients have several) | {verdict}: {divided[0]} "
        f"of 25 divided | {OTHER} | **missed**: nnU-Net's own folds divide {divided[1]} of 25 |"
    )


def _compare(row: Row, folder: Path) -> tuple[str, str, str]:
    for name in ("raw", "preprocessed", "results"):
        (folder / name).mkdir()
        os.environ[f"nnUNet_{name}"] = str(folder / name)
    sample = row.builder(folder / "source")
    expected = row.plant(sample)
    ours = _convert(sample, expected, folder / "raw")
    theirs = _convert_msd(sample) if sample.dataset == "msd" else OTHER
    raw = next((folder / "raw").glob("Dataset*"), None)
    if theirs in (FOUND, OTHER) or raw is None:
        shutil.rmtree(folder / "raw")
        raw = folder / "raw" / "Dataset005_Sample"
        try:
            lay_out(sample, raw)
        except RuntimeError:
            return ours, theirs, OTHER
    return ours, theirs, _verify(raw)


def _convert(sample: SampleDataset, expected: faults.ExpectedProblem, raw: Path) -> str:
    try:
        done = convert_sample(sample, raw, DATASET)
    except ConversionError as error:
        return FOUND if expected.kind in {problem.kind for problem in error.problems if problem.fatal} else MISSED
    shutil.rmtree(next(raw.glob("Dataset*")))
    return WARNED if expected.kind in {note.kind for note in done.notes} else MISSED


def _convert_msd(sample: SampleDataset) -> str:
    from nnunetv2.dataset_conversion.convert_MSD_dataset import convert_msd_dataset

    return _run_check(lambda: convert_msd_dataset(str(sample.source), DATASET, 1))


def _verify(raw: Path) -> str:
    from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity

    return _run_check(lambda: verify_dataset_integrity(str(raw), 1))


def _run_check(run: Callable[[], None]) -> str:
    """Found if it raises, warned if it prints a warning, else missed."""
    printed = io.StringIO()
    try:
        with _captured(printed):
            run()
    except Exception as error:
        tqdm.write(f"    {type(error).__name__}: {str(error)[:200]}", file=sys.stderr)
        return FOUND
    warned = [line for line in printed.getvalue().splitlines() if "warning" in line.lower()]
    for line in warned[:1]:
        tqdm.write(f"    {line[:200]}", file=sys.stderr)
    return WARNED if warned else MISSED


@contextlib.contextmanager
def _captured(into: io.StringIO):
    """Catch what this process and its workers print."""
    sys.stdout.flush()
    with tempfile.TemporaryFile("w+") as file:
        before = os.dup(1)
        os.dup2(file.fileno(), 1)
        try:
            yield
        finally:
            sys.stdout.flush()
            os.dup2(before, 1)
            os.close(before)
            file.seek(0)
            into.write(file.read())


def lay_out(sample: SampleDataset, raw: Path) -> Path:
    """Put the files into nnU-Net's folders without any check: what is there, as it is."""
    train = [case for case in sample.cases if not case.startswith(("P5", "Test_", "Live_")) or case == "P5_T1"]
    train = [case for case in train if not (sample.dataset == "msd" and (case, LABEL) not in sample.files)]
    for (case, role), path in sample.files.items():
        side = "Tr" if case in train else "Ts"
        if not path.exists() and not path.is_symlink():
            continue
        if role == LABEL:
            _copy(path, raw / f"labels{side}" / f"{case}.nii.gz")
        else:
            _copy(path, raw / f"images{side}" / f"{case}_{sample.roles.index(role):04d}.nii.gz")
    count = len({path.name[:-12] for path in (raw / "imagesTr").iterdir()})
    names = {"mslesseg": ["FLAIR", "T1", "T2"], "msd": ["T2", "ADC"] if "Task05" in sample.source.name else ["CT"]}
    several = sample.dataset in ("msd", "multisite-prostate")
    classes = ["background", "one", "two"] if several else ["background", "one"]
    content = {
        "channel_names": {str(index): name for index, name in enumerate(names.get(sample.dataset, ["MRI"]))},
        "labels": {name: index for index, name in enumerate(classes)},
        "numTraining": count,
        "file_ending": ".nii.gz",
    }
    (raw / "dataset.json").write_text(json.dumps(content))
    return raw


def _copy(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(path))
        sitk.WriteImage(sitk.ReadImage(names), str(target))
    elif path.name.endswith(".nii.gz"):
        shutil.copyfile(path, target)
        _split(target)
    else:
        sitk.WriteImage(sitk.ReadImage(str(path)), str(target))


def _split(target: Path) -> None:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(target))
    with contextlib.suppress(RuntimeError):
        reader.ReadImageInformation()
    if reader.GetDimension() == 4:
        image = sitk.ReadImage(str(target))
        for channel in range(image.GetSize()[3]):
            name = target.name.replace("_0000.nii.gz", f"_{channel:04d}.nii.gz")
            sitk.WriteImage(image[:, :, :, channel], str(target.with_name(name)))


SECOND_PART = "\n## Data sets in nnU-Net's format\n"
"""Of the page; another program writes it (tests.verification.fault_table)."""
HEADER = """# Faults found by each tool

Written by `python -m tests.dataset_conversion.compare_with_nnunet docs/fault-table.md`. Every row is a small synthetic
data set with one fault (`tests/dataset_conversion/faults.py`).

* **found**: the tool stops with an error. **warned**: it prints a warning and continues. **missed**: it reports
  nothing. `-`: it does not read this layout, or a script without checks already fails to read the file.
* `--verify_dataset_integrity` is given the output of `nnUNetv2_convert_MSD_dataset` or, where that stopped or does not
  apply, the same files copied into nnU-Net's folders by a script without checks.
* The last row compares folds instead of checks: the `splits_final.json` of `ser-nnunet convert`, and the folds that
  nnU-Net's `generate_crossval_split` makes of the same names, which training uses if that file is absent.
* NaN and Inf never reach nnU-Net's check: its reader (ITK, for NIfTI) converts them to 0.

## Downloads

"""

if __name__ == "__main__":
    main(Path(sys.argv[1]))
