"""What can be chosen about the demo, and what must be fulfilled before it starts."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ser_nnunet.errors import UserError

EXTRAS = {"nilearn": "demo", "segment_anything": "sam", "torchvision": "sam"}
"""Optional modules that the demo imports, and the extra of this package that installs each."""

LEAST_PATIENTS, MOST_PATIENTS = 5, 1000
SPACINGS = (1.0, 4.0)  # mm


@dataclass(frozen=True)
class DemoSettings:
    """The settings of one demo.

    Attributes:
        folder: where all files are written; an earlier demo there is replaced.
        patients: number of simulated training patients, at least 5.
        test_patients: number of simulated test patients, at least 1.
        spacing: isotropic voxel size in mm, 1 to 4.
        seed: of the simulation.
        configuration: `2d` or `3d_fullres`.
        device: `cpu` or `cuda`; None takes `cuda` if there is a GPU.
    """

    folder: Path = Path("ser_nnunet_demo")
    patients: int = 12
    test_patients: int = 4
    spacing: float = 2.5
    seed: int = 0
    configuration: str = "2d"
    device: str | None = None


def check_settings(settings: DemoSettings) -> None:
    """Report everything that prevents the demo from running, before it writes anything.

    Raises:
        UserError: packages are missing or values are out of range; names all of them.
    """
    problems = []
    missing = sorted({extra for module, extra in EXTRAS.items() if find_spec(module) is None})
    if missing:
        problems.append(f"packages are missing: pip install 'ser-nnunet[{','.join(missing)}]'")
    if settings.patients < LEAST_PATIENTS:
        problems.append(f"--patients {settings.patients}: nnU-Net's five folds need at least {LEAST_PATIENTS} patients")
    if settings.test_patients < 1:
        problems.append(f"--test-patients {settings.test_patients}: at least 1 is needed to evaluate")
    if not SPACINGS[0] <= settings.spacing <= SPACINGS[1]:
        problems.append(f"--spacing {settings.spacing:g}: expected 1 to 4 mm")
    if max(settings.patients, settings.test_patients) > MOST_PATIENTS:
        problems.append(f"--patients and --test-patients: at most {MOST_PATIENTS} each")
    if not 0 <= settings.seed < 2**31:
        problems.append(f"--seed {settings.seed}: expected 0 to {2**31 - 1}")
    if problems:
        raise UserError("the demo cannot start:\n" + "\n".join(f"  {problem}" for problem in problems))
