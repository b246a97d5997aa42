"""A small copy of every data set in its exact layout, including the extra files of real downloads."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from tests.dataset_conversion.volumes import LAS, TILTED, UPSIDE_DOWN, ct_image, image_of, mask, save, scalar_image

LABEL = "label"


@dataclass
class SampleDataset:
    """A data set on disk: what to call the converter with, and where each volume lies."""

    dataset: str
    source: Path
    options: dict = field(default_factory=lambda: {"allow_partial": True})
    files: dict[tuple[str, str], Path] = field(default_factory=dict)
    """(case, role) -> file, or folder of slices."""
    truth: dict[tuple[str, str], sitk.Image] = field(default_factory=dict)
    """(case, role) -> the volume as it was meant, geometry and all."""

    def add(self, case: str, role: str, image: sitk.Image, path: Path) -> None:
        """Write a volume and remember it."""
        save(image, path)
        self.files[case, role] = path
        self.truth[case, role] = image

    def change(self, case: str, role: str, change: Callable[[np.ndarray], np.ndarray]) -> Path:
        """Rewrite the voxels of a volume (for 4D files, of all its channels)."""
        image = image_of(change(sitk.GetArrayFromImage(self.truth[case, role])))
        if image.GetDimension() == 3:
            image.CopyInformation(self.truth[case, role])
        save(image, self.files[case, role])
        return self.files[case, role]

    @property
    def cases(self) -> list[str]:
        """All cases, in the order in which they were made."""
        return list(dict.fromkeys(case for case, _ in self.files))

    @property
    def roles(self) -> list[str]:
        """Roles of the images in the files (a 4D file has one)."""
        return [role for case, role in self.files if case == self.cases[0] and role != LABEL]


def litter(folder: Path) -> None:
    """What operating systems leave behind."""
    (folder / "__MACOSX").mkdir(parents=True)
    (folder / "__MACOSX" / "._P1_T1_FLAIR.nii.gz").write_bytes(b"\x00\x05\x16\x07")
    (folder / ".DS_Store").write_bytes(b"\x00\x00\x00\x01Bud1")
    (folder / "._P1_T1_T1.nii.gz").write_bytes(b"\x00\x05\x16\x07")


def mslesseg(root: Path, layout: str = "2025") -> SampleDataset:
    """Seven training scans of six patients (P1 twice, P10 beside P1), two test patients, a clinical table."""
    sample = SampleDataset("mslesseg", root / "my downloads")
    home = sample.source / "MSLesSeg Dataset" / "MSLesSeg Dataset"
    scans = [("P1", "T1"), ("P1", "T2"), ("P10", "T1"), ("P2", "T1"), ("P3", "T1"), ("P4", "T1"), ("P5", "T1")]
    for index, (patient, time) in enumerate(scans):
        folder = home / "train" / patient / time
        _mslesseg_scan(sample, f"{patient}_{time}", folder, folder, f"{patient}_{time}", index)
    for index, patient in enumerate(("P54", "P55")):
        images = home / "test" / ("test" if layout == "2024" else "") / patient
        masks = home / "test" / "test_MASK" / patient if layout == "2024" else images
        _mslesseg_scan(sample, patient, images, masks, patient, 20 + index)
    packed = sample.files["P4_T1", "T1"]
    sample.files["P4_T1", "T1"] = packed.with_name("P4_T1_T1.nii")
    save(sample.truth["P4_T1", "T1"], sample.files["P4_T1", "T1"])
    packed.unlink()
    write_clinical_data(sample, home / "info_dataset" / "clinical_data.csv")
    litter(home / "train")
    return sample


def _mslesseg_scan(sample: SampleDataset, case: str, images: Path, masks: Path, prefix: str, seed: int) -> None:
    for offset, role in enumerate(("FLAIR", "T1", "T2")):
        image = image_of(scalar_image(10 * seed + offset), (1, 1, 1), (-90, 126, -72), LAS)
        sample.add(case, role, image, images / f"{prefix}_{role}.nii.gz")
    label = image_of(mask(seed).astype(np.float32), (1, 1, 1), (-90, 126, -72), LAS)
    sample.add(case, LABEL, label, masks / f"{prefix}_MASK.nii.gz")


def write_clinical_data(sample: SampleDataset, path: Path) -> None:
    """The release's table: `;`, decimal commas, the lesion count in a ninth column without a name."""
    rows = ["Patient;Timepoint;Age;Sex;MS Type;EDSS;Lesion Number;Lesion Volume;"]
    for case in sample.cases:
        patient, _, time = case.partition("_")
        volume = int(sitk.GetArrayViewFromImage(sample.truth[case, LABEL]).sum())
        rows.append(f"{patient};{time or 'T1'};28,09;F;SMRR;3,5;;{volume}.0;3")
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")


def mslesseg_2024(root: Path) -> SampleDataset:
    """The competition's layout."""
    return mslesseg(root, "2024")


def pancreas_dicom(root: Path) -> SampleDataset:
    """Five scans as DICOM, z falling and no slice thickness, uint8 and uint16 labels; 0025 and 0070: labels alone."""
    sample = SampleDataset("pancreas-ct", root / "manifest-1")
    for number in (1, 2, 3, 10, 82):
        case = f"PANCREAS_{number:04d}"
        series = sample.source / "Pancreas-CT" / case / "11-24-2015-PANCREAS" / "Pancreas-63502"
        _ct_case(sample, case, number, series, UPSIDE_DOWN, (0.0, 0.0, 0.0))
    for number in (25, 70):
        save(sample.truth["PANCREAS_0001", LABEL], _nih_label(sample, number))
    return sample


def pancreas_nifti(root: Path) -> SampleDataset:
    """The same as NIfTI, images stored in another orientation than their labels."""
    sample = SampleDataset("pancreas-ct", root)
    for number in (1, 2, 3, 10, 82):
        case = f"PANCREAS_{number:04d}"
        _ct_case(sample, case, number, root / "data" / f"{case}.nii.gz", UPSIDE_DOWN, (3.0, -5.0, 40.0))
        sample.add(case, "CT", sitk.DICOMOrient(sample.truth[case, "CT"], "RPI"), sample.files[case, "CT"])
    return sample


def _ct_case(sample: SampleDataset, case: str, seed: int, path: Path, direction: tuple, origin: tuple) -> None:
    organ = mask(seed)
    sample.add(case, "CT", image_of(ct_image(seed, organ), (0.9, 0.9, 1.0), origin, direction), path)
    label = organ.astype(np.uint16 if seed % 2 else np.uint8)
    sample.add(case, LABEL, image_of(label, (0.9, 0.9, 1.0), origin, direction), _nih_label(sample, seed))


def _nih_label(sample: SampleDataset, number: int) -> Path:
    return sample.source / "TCIA_pancreas_labels-02-05-2017" / f"label{number:04d}.nii.gz"


def pansegdata(root: Path, sequence: str = "T1") -> SampleDataset:
    """Five sites, T1 and T2 with numbers of their own; the header of one MCF T1 label is wrong over a right array."""
    sample = SampleDataset("pansegdata", root / "PanSegData", {"channels": [sequence], "allow_partial": True})
    for name in ("T1", "T2"):
        for index, site in enumerate(("NYU", "MCF", "MCF", "NWU", "AHN", "MCA")):
            case = f"{site}_{index + 1:04d}"
            folder = sample.source / name.lower()
            seed = index + (40 if name == "T2" else 0)
            image = image_of(scalar_image(seed), direction=(TILTED, LAS)[index % 2])
            label = image_of(mask(seed).astype(np.float64) * (1 + 1e-5), direction=(TILTED, LAS)[index % 2])
            target = sample if name == sequence else SampleDataset("", root)
            target.add(case, name, image, folder / "imagesTr" / f"{case}_0000.nii.gz")
            target.add(case, LABEL, label, folder / "labelsTr" / f"{case}.nii.gz")
    if sequence == "T1":
        wrong = image_of(sitk.GetArrayFromImage(sample.truth["MCF_0002", LABEL]), (1, 1, 1), (0, 0, 0))
        save(wrong, sample.files["MCF_0002", LABEL])
    return sample


def pansegdata_t2(root: Path) -> SampleDataset:
    """The T2 part."""
    return pansegdata(root, "T2")


def promise12(root: Path) -> SampleDataset:
    """MetaImage pairs; case numbers restart in every part."""
    sample = SampleDataset("promise12", root)
    parts = {"Train": ("training_data", 5), "Test": ("test_data", 2), "Live": ("livechallenge_test_data", 1)}
    for offset, (part, (folder, count)) in enumerate(parts.items()):
        for number in range(count):
            case, seed = f"{part}_Case{number:02d}", 10 * offset + number
            path = root / folder / f"Case{number:02d}.mhd"
            sample.add(case, "T2", image_of(scalar_image(seed, "int16"), direction=TILTED), path)
            label = image_of(mask(seed).astype(np.int8), direction=TILTED)
            sample.add(case, LABEL, label, path.with_name(f"Case{number:02d}_segmentation.mhd"))
    return sample


def multisite_prostate(root: Path, letters: bool = False) -> SampleDataset:
    """Two cases of each site with the same numbers; `_Segmentation` and two zones in BMC."""
    sample = SampleDataset("multisite-prostate", root)
    for index, site in enumerate(("RUNMC", "BMC", "I2CVB", "UCL", "BIDMC", "HK")):
        for number in range(2):
            case, seed = f"{site}_Case{number:02d}", 2 * index + number
            folder = root / (f"Site-{'ABCDEF'[index]}" if letters else site)
            word = "Segmentation" if site == "BMC" else "segmentation"
            label = mask(seed)
            if site == "BMC":
                label[3] *= 2
            sample.add(
                case, "T2", image_of(scalar_image(seed, "int16"), direction=TILTED), folder / f"Case{number:02d}.nii.gz"
            )
            sample.add(case, LABEL, image_of(label, direction=TILTED), folder / f"Case{number:02d}_{word}.nii.gz")
    return sample


def multisite_letters(root: Path) -> SampleDataset:
    """The layout with `Site-A` to `Site-F`."""
    return multisite_prostate(root, letters=True)


def decathlon(root: Path, task: str, modality: list[str], classes: list[str], tests: int = 2) -> SampleDataset:
    """A Decathlon task with five training cases whose ids aren't contiguous, and `._` files among them."""
    number, name = task.split("_")
    sample = SampleDataset("msd", root / f"{number}_{name}")
    for index, case_number in enumerate((1, 4, 10, 12, 281, 290, 299)[: 5 + tests]):
        case, is_test = f"{name.lower()}_{case_number:03d}", index >= 5
        organ = mask(index)
        organ[3:5] *= len(classes) - 1
        image = _decathlon_image(index, organ, modality)
        sample.add(case, "image", image, sample.source / ("imagesTs" if is_test else "imagesTr") / f"{case}.nii.gz")
        if not is_test:
            label = image_of(organ, origin=(-12.0, 30.50002, -7.25), direction=TILTED)
            sample.add(case, LABEL, label, sample.source / "labelsTr" / f"{case}.nii.gz")
    (sample.source / "imagesTr" / f"._{name.lower()}_001.nii.gz").write_bytes(b"\x00\x05\x16\x07")
    _decathlon_json(sample, name, modality, classes)
    return sample


def _decathlon_image(seed: int, organ: np.ndarray, modality: list[str]) -> sitk.Image:
    if modality == ["CT"]:
        return image_of(ct_image(seed, organ), direction=TILTED)
    channels = [scalar_image(100 * seed + channel) for channel in range(len(modality))]
    return image_of(channels[0] if len(channels) == 1 else np.stack(channels), direction=TILTED)


def _decathlon_json(sample: SampleDataset, name: str, modality: list[str], classes: list[str]) -> None:
    train = [case for case in sample.cases if (case, LABEL) in sample.files]
    content = {
        "name": name,
        "description": f"sample {name}",
        "reference": "none",
        "licence": "CC-BY-SA 4.0",
        "relase": "1.0 04/05/2018",
        "modality": {str(index): text for index, text in enumerate(modality)},
        "labels": {str(index): text for index, text in enumerate(classes)},
        "numTraining": len(train),
        "numTest": len(sample.cases) - len(train),
        "training": [{"image": f"./imagesTr/{case}.nii.gz", "label": f"./labelsTr/{case}.nii.gz"} for case in train],
        "test": [f"./imagesTs/{case}.nii.gz" for case in sample.cases if case not in train],
    }
    (sample.source / "dataset.json").write_text(json.dumps(content))


def msd_pancreas(root: Path) -> SampleDataset:
    """Task07: CT, pancreas and cancer."""
    return decathlon(root, "Task07_Pancreas", ["CT"], ["background", "pancreas", "cancer"])


def msd_prostate(root: Path) -> SampleDataset:
    """Task05: 4D images of T2 and ADC, two zones."""
    return decathlon(root, "Task05_Prostate", ["T2", "ADC"], ["background", "PZ", "TZ"])


BUILDERS = {
    builder.__name__: builder
    for builder in (
        mslesseg,
        mslesseg_2024,
        pancreas_dicom,
        pancreas_nifti,
        pansegdata,
        pansegdata_t2,
        promise12,
        multisite_prostate,
        multisite_letters,
        msd_pancreas,
        msd_prostate,
    )
}
