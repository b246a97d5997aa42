"""The demo's own folder: found again, replaced piece by piece, and never taken from anybody else."""

from __future__ import annotations

import os
import shlex
import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ser_nnunet.errors import UserError

MARKER = ".made_by_ser_nnunet_demo"
"""A file of this name says that a folder is the demo's own."""


@dataclass(frozen=True)
class Workspace:
    """Where everything of one demo lies."""

    folder: Path

    @property
    def cohort(self) -> Path:
        """The simulated download."""
        return self.folder / "mslesseg_phantom"

    @property
    def raw(self) -> Path:
        """nnUNet_raw."""
        return self.folder / "nnUNet_raw"

    @property
    def preprocessed(self) -> Path:
        """nnUNet_preprocessed."""
        return self.folder / "nnUNet_preprocessed"

    @property
    def results(self) -> Path:
        """nnUNet_results."""
        return self.folder / "nnUNet_results"

    @property
    def sam(self) -> Path:
        """The toy SAM's checkpoint."""
        return self.folder / "dummy_sam.pth"

    @property
    def no_sam(self) -> Path:
        """The folder that, on PYTHONPATH, makes `import segment_anything` fail."""
        return self.folder / "without_sam"

    @property
    def predictions(self) -> Path:
        """Predicted masks of the test patients."""
        return self.folder / "predictions"

    @property
    def evaluation(self) -> Path:
        """What `ser-nnunet evaluate` wrote."""
        return self.folder / "evaluation"

    @property
    def picture(self) -> Path:
        """FLAIR, truth and prediction."""
        return self.folder / "demo.png"

    @property
    def logs(self) -> Path:
        """One log per step."""
        return self.folder / "logs"

    @property
    def environment_file(self) -> Path:
        """The `export` lines that let a user repeat any command."""
        return self.folder / "env.sh"

    def environment(self) -> dict[str, str]:
        """Return the variables of the demo's child processes; the user's own nnU-Net folders play no part."""
        return {
            "nnUNet_raw": str(self.raw),
            "nnUNet_preprocessed": str(self.preprocessed),
            "nnUNet_results": str(self.results),
            "nnUNet_extTrainer": str(trainers_folder()),
            "SER_SAM_CHECKPOINT": str(self.sam),
            # nnU-Net starts 8 processes by default, of which each first imports torch: slower than 2 for so few cases.
            "nnUNet_def_n_proc": "2",
            # Compiling takes longer than this short training (and happens on GPUs alone).
            "nnUNet_compile": "f",
            # nnU-Net gives torch one thread per core. Where other work keeps a core busy, threads that spin while they
            # wait for each other make a step ten times slower; sleeping ones don't.
            "OMP_WAIT_POLICY": "PASSIVE",
        }

    def prepare(self) -> None:
        """Make the folder, or empty the one of an earlier demo; files that the demo didn't make stay there.

        Raises:
            UserError: the folder holds something and isn't a demo's.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise UserError(f"{self.folder} is a file; name a folder that is new or empty with --folder")
        if self.folder.is_dir() and any(self.folder.iterdir()) and not (self.folder / MARKER).is_file():
            raise UserError(
                f"{self.folder} holds files and was not made by an earlier demo ({MARKER} is missing): nothing was "
                "changed there. Name a folder that is new or empty with --folder"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in ("cohort", "raw", "preprocessed", "results", "sam", "no_sam", "predictions", "evaluation"):
            _remove(getattr(self, name))
        for path in (self.logs, self.picture, self.environment_file):
            _remove(path)
        (self.folder / MARKER).write_text("ser-nnunet demo made this folder and replaces its contents.\n")
        for path in (self.logs, self.raw, self.preprocessed, self.results, self.no_sam):
            path.mkdir()
        self._write_environment_file()
        self._block_sam()

    def _write_environment_file(self) -> None:
        lines = [f"export {name}={shlex.quote(value)}" for name, value in self.environment().items()]
        self.environment_file.write_text("\n".join(["# source this to repeat the demo's commands", *lines, ""]))

    def _block_sam(self) -> None:
        blocker = "raise ImportError('segment_anything is blocked: the demo shows that prediction does without it')\n"
        (self.no_sam / "segment_anything.py").write_text(blocker)

    def without_sam(self) -> dict[str, str]:
        """Return the variables of a process in which segment_anything cannot be imported and no SAM is named."""
        path = [str(self.no_sam), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {**self.environment(), "SER_SAM_CHECKPOINT": "", "PYTHONPATH": os.pathsep.join(path)}


def trainers_folder() -> Path:
    """Return the folder of the trainers, for nnUNet_extTrainer."""
    spec = find_spec("ser_nnunet.trainers")
    if spec is None or not spec.submodule_search_locations:
        raise UserError("The package's trainers were not found; install it again: pip install -e '.[sam,demo]'")
    return Path(next(iter(spec.submodule_search_locations)))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
