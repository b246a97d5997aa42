"""Any BIDS data set: images by their suffix and entities, labels from derivatives (bids-specification.readthedocs.io).

Layout: `sub-01/ses-02/anat/sub-01_ses-02_FLAIR.nii.gz` and, for example,
`derivatives/manual/sub-01/ses-02/anat/sub-01_ses-02_desc-lesion_mask.nii.gz`. Sessions are time points of one patient.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ser_nnunet.dataset_conversion.core.class_options import Description, describe_dataset
from ser_nnunet.dataset_conversion.core.data_classes import LABEL, CaseTable, Options, Problem
from ser_nnunet.dataset_conversion.core.pairing import FileIdentity, IdentifiedVolume, build_table, identify_files
from ser_nnunet.dataset_conversion.core.source_tree import SourceTree, image_stem
from ser_nnunet.errors import UserError
from ser_nnunet.utils.files import read_json

EXPECTED = "sub-01/anat/sub-01_FLAIR.nii.gz and derivatives/PIPELINE/sub-01/anat/sub-01_desc-lesion_mask.nii.gz"
NAME = re.compile(r"(?P<entities>(?:[A-Za-z]+-[A-Za-z0-9+]+_)*)(?P<suffix>[A-Za-z0-9]+)")
RAW = "."
"""The pipeline of files that are in no folder `derivatives`."""
OF_THE_CASE = ("sub", "ses")
LISTED = 12
LISTED_CASES = 3


@dataclass(frozen=True)
class BidsLayout:
    """Which files are used.

    Attributes:
        channels: suffixes with the entities that are needed to tell files apart, as in file names: `FLAIR`,
            `acq-iso_T1w`, `space-T1w_FLAIR`; in nnU-Net's order.
        label: the same for labels, such as `desc-lesion_mask`, `label-lesion_mask` or `dseg`.
        description: classes, values, source.
        label_pipeline: folder below `derivatives` of the labels; `.` for labels beside the images; "" where one fits.
        image_pipeline: folder below `derivatives` of the images; `.` for the raw images.
        test: subjects for imagesTs, such as `sub-05` or `05`.
    """

    channels: tuple[str, ...]
    label: str
    description: Description
    label_pipeline: str = ""
    image_pipeline: str = RAW
    test: tuple[str, ...] = ()


@dataclass(frozen=True)
class BidsFile:
    """What the name of a BIDS file says."""

    pipeline: str
    entities: Mapping[str, str]
    suffix: str

    def fits(self, wanted: BidsFile) -> bool:
        """Return whether this is a file of the wanted suffix, pipeline and entities, whatever others it has."""
        return (
            (self.pipeline, self.suffix) == (wanted.pipeline, wanted.suffix)
            and wanted.entities.items() <= self.entities.items()
        )  # fmt: skip

    def is_exactly(self, wanted: BidsFile) -> bool:
        """Return whether this is a wanted file that has no other entities, but those of the case."""
        return self.fits(wanted) and self.entities.keys() <= {*wanted.entities, *OF_THE_CASE}

    def describe(self) -> str:
        """Return what tells its kind from others, as the options take it, such as `desc-lesion_mask`."""
        kept = [f"{key}-{value}" for key, value in self.entities.items() if key not in (*OF_THE_CASE, "run")]
        return "_".join([*kept, self.suffix])


def find(tree: SourceTree, options: Options) -> CaseTable:
    """Return the table of cases.

    Raises:
        UserError: there are no BIDS files, or none for a channel or the label (names what there is).
    """
    layout = options.layout
    if not isinstance(layout, BidsLayout):
        raise UserError("convert bids needs --channel SUFFIX, --label SUFFIX and --labels")
    files = {path: found for path in tree.images() if (found := parse_name(tree, path)) is not None}
    if not files:
        raise tree.no_cases_error(EXPECTED)
    wanted = choose_files(layout, list(files.values()))
    described = read_description(tree, layout.description)
    info = describe_dataset(described, make_name(tree), tree.root.resolve().name, layout.channels)
    test = {subject.removeprefix("sub-") for subject in layout.test}
    if unknown := sorted(test - {file.entities["sub"] for file in files.values()}):
        raise UserError(f"--test: there is no subject {', '.join(unknown)}")

    def identify(tree: SourceTree, path: Path) -> FileIdentity | None:
        fitting = [role for role, kind in wanted.items() if path in files and files[path].fits(kind)]
        if not fitting:
            return None
        role = max(fitting, key=lambda role: len(wanted[role].entities))  # T1w, or acq-iso_T1w?
        entities = files[path].entities
        case = "_".join(f"{key}-{entities[key]}" for key in OF_THE_CASE if key in entities)
        split = "test" if entities["sub"] in test else "train"
        return FileIdentity(case, role, patient=f"sub-{entities['sub']}", split=split)

    volumes, _ = identify_files(tree, identify)
    taken = prefer_exact(volumes, files, wanted)
    table = build_table(tree, info, taken)
    table.problems += note_mixed_kinds(taken, files, wanted)
    for path, file in files.items():
        folders = tree.folder_names(path)[:-1]
        wrong = [name for name in folders if re.match(r"(sub|ses)-", name) and name not in name_of(file)]
        if wrong and any(file.fits(kind) for kind in wanted.values()):
            text = f"{tree.shorten(path)} lies in the folder {wrong[0]}, its name says {' '.join(name_of(file))}"
            table.problems.append(Problem("BIDS name", name_of(file)[0], text))
    return table


def prefer_exact(
    volumes: list[IdentifiedVolume], files: Mapping[Path, BidsFile], wanted: Mapping[str, BidsFile]
) -> list[IdentifiedVolume]:
    """Return the volumes without those of a case and role that another one, without further entities, fits exactly.

    For `T1w`, `sub-01_T1w` is taken and `sub-01_ce-GADOLINIUM_T1w` beside it is not; without the first, the second is.
    """
    exact = {
        (identity.case, identity.role)
        for identity, volume in volumes
        if files[volume.path].is_exactly(wanted[identity.role])
    }
    return [
        (identity, volume)
        for identity, volume in volumes
        if (identity.case, identity.role) not in exact or files[volume.path].is_exactly(wanted[identity.role])
    ]


def note_mixed_kinds(
    volumes: list[IdentifiedVolume], files: Mapping[Path, BidsFile], wanted: Mapping[str, BidsFile]
) -> Iterator[Problem]:
    """Yield a note per channel or label whose files have different entities, such as scans with contrast agent."""
    for role in wanted:
        cases: dict[str, list[str]] = {}
        for identity, volume in volumes:
            if identity.role == role:
                cases.setdefault(files[volume.path].describe(), []).append(identity.case)
        if len(cases) > 1:
            most, *others = sorted(cases, key=lambda kind: -len(cases[kind]))
            found = "; ".join(
                f"{kind} in {len(cases[kind])} ({', '.join(cases[kind][:LISTED_CASES])}"
                f"{', ...' if len(cases[kind]) > LISTED_CASES else ''})"
                for kind in others
            )
            text = f"files of the {role} differ: {most} in {len(cases[most])} cases, {found}. Do they mean the same?"
            yield Problem("mixed kinds", "", text, fatal=False)


def parse_name(tree: SourceTree, path: Path) -> BidsFile | None:
    """Return what a file's name and place say, None for a file that is none of BIDS' images."""
    match = NAME.fullmatch(image_stem(path))
    if match is None:
        return None
    entities = dict(part.split("-", 1) for part in match["entities"].split("_") if part)
    folders = tree.folder_names(path)[:-1][::-1]  # from the root, without the root itself
    if "sub" not in entities or "sourcedata" in folders:
        return None
    pipeline = RAW
    if "derivatives" in folders:
        below = folders[folders.index("derivatives") + 1 :]
        pipeline = below[0] if below and not below[0].startswith("sub-") else "derivatives"
    return BidsFile(pipeline, entities, match["suffix"])


def name_of(file: BidsFile) -> list[str]:
    """Return `["sub-01", "ses-02"]`, the names of the folders in which a file must lie."""
    return [f"{key}-{file.entities[key]}" for key in OF_THE_CASE if key in file.entities]


def choose_files(layout: BidsLayout, files: list[BidsFile]) -> dict[str, BidsFile]:
    """Return role -> the pipeline, suffix and entities of its files; raises `UserError` with all that has no files."""
    wanted, faults = {}, []
    for role in layout.channels:
        wanted[role] = parse_kind(role, "--channel", layout.image_pipeline)
        if not any(file.fits(wanted[role]) for file in files):
            faults.append(f"  --channel {role}: there is no such image in {describe_place(layout.image_pipeline)}")
    label = parse_kind(layout.label, "--label", layout.label_pipeline or RAW)
    fitting = Counter(
        file.pipeline for file in files if file.fits(BidsFile(file.pipeline, label.entities, label.suffix))
    )
    pipelines = [layout.label_pipeline] if layout.label_pipeline else sorted(fitting)
    if len(pipelines) > 1:
        found = ", ".join(f"{name} ({fitting[name]} files)" for name in pipelines)
        faults.append(f"  --label {layout.label}: several pipelines have it, choose one with --label-pipeline: {found}")
    elif not pipelines or not fitting[pipelines[0]]:
        where = describe_place(pipelines[0]) if pipelines else "any pipeline"
        faults.append(f"  --label {layout.label}: there is no such file in {where}")
    if faults:
        kinds = Counter((file.pipeline, file.describe()) for file in files)
        listed = [
            f"    {describe_place(place)}: {kind} ({count})" for (place, kind), count in kinds.most_common(LISTED)
        ]
        raise UserError("\n".join(["the options do not fit the files", *faults, "  there are", *listed]))
    wanted[LABEL] = BidsFile(pipelines[0], label.entities, label.suffix)
    return wanted


def parse_kind(text: str, option: str, pipeline: str) -> BidsFile:
    """Parse `FLAIR` or `acq-iso_T1w`; raises `UserError` for anything else."""
    match = NAME.fullmatch(text)
    if match is None or text == LABEL:
        raise UserError(f"{option} {text}: a suffix, with entities if needed, expected, such as FLAIR or acq-iso_T1w")
    entities = dict(part.split("-", 1) for part in match["entities"].split("_") if part)
    return BidsFile(pipeline, entities, match["suffix"])


def describe_place(pipeline: str) -> str:
    """Return a pipeline's name for messages."""
    return "the raw data" if pipeline == RAW else f"derivatives/{pipeline}"


def read_description(tree: SourceTree, given: Description) -> Description:
    """Return the description with what dataset_description.json adds to the user's own words."""
    content = read_bids_json(tree)
    links = content.get("ReferencesAndLinks")
    reference = content.get("DatasetDOI") or (", ".join(map(str, links)) if isinstance(links, list) else "")
    return replace(
        given,
        licence=given.licence or str(content.get("License") or ""),
        citation=given.citation or str(content.get("HowToAcknowledge") or ""),
        reference=given.reference or str(reference),
    )


def make_name(tree: SourceTree) -> str:
    """Return a name for the data set's folder from that in dataset_description.json."""
    return re.sub(r"[^A-Za-z0-9]+", "", str(read_bids_json(tree).get("Name") or "")) or "Bids"


def read_bids_json(tree: SourceTree) -> dict[str, Any]:
    """Return the content of dataset_description.json, empty without one; raises `UserError` for one that is damaged."""
    found = tree.find_files("dataset_description.json")
    if not found:
        return {}
    try:
        content = read_json(found[0])
    except (OSError, ValueError) as error:
        raise UserError(f"{found[0]}: BIDS' dataset_description.json expected, it can't be read ({error})") from None
    if not isinstance(content, dict):
        raise UserError(f"{found[0]}: BIDS' dataset_description.json expected, a JSON object")
    return content
