"""The demo's folder: identified by a marker file; an earlier demo is replaced, other files are never deleted."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from ser_nnunet.errors import UserError
from ser_nnunet.nnunet.paths import PREPROCESSED, RAW, RESULTS
from ser_nnunet.nnunet.trainers import EXTERNAL_TRAINERS, trainers_folder
from ser_nnunet.utils.files import UNFINISHED, remove
from ser_nnunet.utils.locks import ExclusiveLock
from ser_nnunet.utils.output_checks import require_writable_folder
from ser_nnunet.utils.variables import SAM_CHECKPOINT

MARKER = ".made_by_ser_nnunet_demo"
"""Name of a file that marks a folder as the demo's."""

LOCK = ".demo.lock"

DATASET_ID = "777"
DATASET_NAME = "MSPhantom"
TRAINER = "SERTrainerDemo"

OWN_FILES = {
    "mslesseg_phantom": r"P\d+(_T\d+)?_(FLAIR|T1|T2|MASK)\.nii\.gz|clinical_data\.csv",
    "predictions": r"P\d+(_T\d+)?\.nii\.gz|(dataset|plans|predict_from_raw_data_args)\.json",
    "evaluation": r"(metrics_wide|metrics_long|lesions|summary)\.csv|evaluation\.json|report\.html",
    "logs": r"\d\d_[\w-]+\.txt",
}
"""Folders that the demo replaces, and the names of the files that it and the commands that it calls write there."""

LEFTOVER = rf"{re.escape(UNFINISHED)}.*|\.DS_Store"  # of a killed evaluation, and of macOS


@dataclass(frozen=True)
class Workspace:
    """The files and folders of one demo, and the environment variables of its commands."""

    folder: Path

    @property
    def cohort(self) -> Path:
        """The simulated download."""
        return self.folder / "mslesseg_phantom"

    @property
    def raw(self) -> Path:
        """nnUNet_raw."""
        return self.folder / RAW

    @property
    def raw_dataset(self) -> Path:
        """The converted cohort."""
        return self.raw / f"Dataset{DATASET_ID}_{DATASET_NAME}"

    @property
    def preprocessed(self) -> Path:
        """nnUNet_preprocessed."""
        return self.folder / PREPROCESSED

    @property
    def results(self) -> Path:
        """nnUNet_results."""
        return self.folder / RESULTS

    @property
    def sam(self) -> Path:
        """The dummy SAM's checkpoint."""
        return self.folder / "dummy_sam.pth"

    @property
    def sam_blocker(self) -> Path:
        """The folder that, on PYTHONPATH, makes `import segment_anything` fail."""
        return self.folder / "without_sam"

    @property
    def predictions(self) -> Path:
        """Predicted masks of the test patients."""
        return self.folder / "predictions"

    @property
    def evaluation(self) -> Path:
        """Output of `ser-nnunet evaluate`."""
        return self.folder / "evaluation"

    @property
    def picture(self) -> Path:
        """FLAIR, reference segmentation and prediction."""
        return self.folder / "demo.png"

    @property
    def logs(self) -> Path:
        """One log per command."""
        return self.folder / "logs"

    @property
    def environment_file(self) -> Path:
        """The `export` lines that let a user repeat any command."""
        return self.folder / "env.sh"

    def environment(self) -> dict[str, str]:
        """Return the variables of the demo's child processes; they replace the user's own nnU-Net folders."""
        return {
            RAW: str(self.raw),
            PREPROCESSED: str(self.preprocessed),
            RESULTS: str(self.results),
            EXTERNAL_TRAINERS: str(trainers_folder()),
            SAM_CHECKPOINT: str(self.sam),
            # nnU-Net starts 8 processes by default, each of which first imports torch: slower than 2 for so few cases.
            "nnUNet_def_n_proc": "2",
            # nnU-Net's planner fails with the 0 that a user may have set for trainings.
            "nnUNet_n_proc_DA": "1",
            # Compiling takes longer than this short training (and happens on GPUs only).
            "nnUNet_compile": "f",
            # nnU-Net gives torch one thread per core. If another process keeps a core busy, threads that spin while
            # they wait for each other make a training step ten times slower.
            "OMP_WAIT_POLICY": "PASSIVE",
        }

    def environment_without_sam(self) -> dict[str, str]:
        """Return the variables of a process that cannot import segment_anything and has no SAM checkpoint."""
        path = [str(self.sam_blocker), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {**self.environment(), SAM_CHECKPOINT: "", "PYTHONPATH": os.pathsep.join(path)}

    def claim(self) -> None:
        """Make the folder and mark it as a demo's.

        Raises:
            UserError: it contains files and is not a demo's. Nothing was changed.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise UserError(f"{self.folder} is a file; name a folder that is new or empty with --folder")
        if self.folder.is_dir() and any(self.folder.iterdir()) and not (self.folder / MARKER).is_file():
            raise UserError(
                f"{self.folder} contains files and was not made by an earlier demo ({MARKER} is missing): nothing was "
                "changed there. Name a folder that is new or empty with --folder"
            )
        require_writable_folder(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / MARKER).write_text("ser-nnunet demo made this folder and replaces its own files in it.\n")

    def lock(self) -> ExclusiveLock:
        """Return the lock that keeps two demos out of one folder, once it is claimed."""
        return ExclusiveLock(self.folder / LOCK, f"a demo in {self.folder}")

    def prepare(self) -> None:
        """Claim the folder, and remove an earlier demo's own files from it, and nothing else.

        A user may have sourced `env.sh` and worked there: other data sets and other trainers' models stay.

        Raises:
            UserError: the folder contains files and is not a demo's, or a folder whose content would be replaced
                contains files that the demo did not write. Nothing was changed.
        """
        self.claim()
        if foreign := self.find_foreign_files():
            listed = "\n".join(f"  {path}" for path in foreign[:10]) + ("\n  ..." if len(foreign) > 10 else "")
            raise UserError(
                f"these {len(foreign)} files are in folders that the demo replaces, and the demo did not write them; "
                f"nothing was changed. Move them, or name another folder with --folder:\n{listed}"
            )
        for path in self.replaced:
            remove(path)
        for path in (self.logs, self.raw, self.preprocessed, self.results, self.sam_blocker):
            path.mkdir(exist_ok=True)
        exports = [f"export {name}={shlex.quote(value)}" for name, value in self.environment().items()]
        self.environment_file.write_text("\n".join(["# source this to repeat the demo's commands", *exports, ""]))
        message = "segment_anything is blocked: the demo shows that prediction does not need it"
        (self.sam_blocker / "segment_anything.py").write_text(f"raise ImportError({message!r})\n")

    @property
    def replaced(self) -> list[Path]:
        """What a demo removes before it begins: the files and folders of the one before, and links in their places."""
        name = self.raw_dataset.name
        roots = (self.raw, self.preprocessed, self.results)
        own = [self.raw / name, self.preprocessed / name, *(self.results / name).glob(f"{TRAINER}__*")]
        files = [self.sam, self.picture, self.environment_file, self.sam_blocker]
        return [*(root for root in roots if root.is_symlink()), *own, *files, *map(self.folder.joinpath, OWN_FILES)]

    def find_foreign_files(self) -> list[Path]:
        """Return the files in the demo's folders for images and results whose names are none of the demo's."""
        return sorted(
            path
            for name, pattern in OWN_FILES.items()
            if not (self.folder / name).is_symlink()
            for path in (self.folder / name).rglob("*")
            if not path.is_dir() and not re.fullmatch(rf"{pattern}|{LEFTOVER}", path.name)
        )
