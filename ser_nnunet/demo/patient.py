"""One patient of the phantom: clinical data, and scans at one or more time points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ser_nnunet.demo.anatomy import Brain, block_mean, draw_brain
from ser_nnunet.demo.contrast import CHANNELS, simulate_channel
from ser_nnunet.demo.lesion_model import (
    draw_distractors,
    draw_lesions,
    draw_vessels,
    lesions_at_visit,
    render_distractors,
    render_lesions,
    to_voxel_mask,
)


@dataclass(frozen=True)
class Scan:
    """One time point: `images[channel]` `(x, y, z)` float32, the lesion `mask` (0.0 and 1.0), and their sources.

    `distractors` is the strength per image voxel of bright spots that are not lesions; `brain` is the anatomy.
    """

    images: dict[str, np.ndarray]
    mask: np.ndarray
    distractors: np.ndarray
    brain: Brain


@dataclass(frozen=True)
class ClinicalData:
    """What `clinical_data.csv` states about a patient at the first visit; `years` since then for every visit."""

    age: float
    sex: str
    course: str
    edss: float
    years: tuple[float, ...]


def draw_clinical_data(rng: np.random.Generator, visits: int) -> ClinicalData:
    """Return invented clinical data: age in years, sex, course (SMRR, SMSP, SMPP) and disability (EDSS)."""
    gaps = rng.uniform(0.4, 2.0, size=visits)
    return ClinicalData(
        age=round(float(np.clip(rng.normal(37, 10), 18, 65)), 2),
        sex=str(rng.choice(["F", "M"], p=[0.7, 0.3])),
        course=str(rng.choice(["SMRR", "SMSP", "SMPP"], p=[0.9, 0.06, 0.04])),
        edss=float(rng.choice([0.0, 0.0, 1.0, 1.5, 2.0, 3.0, 3.5, 4.0])),
        years=tuple(np.round(np.cumsum(gaps) - gaps[0], 2).tolist()),
    )


def simulate_scans(rng: np.random.Generator, visits: int, spacing: float, age: float = 37.0) -> list[Scan]:
    """Return a patient's scans, one per visit: the same brain, with lesions that persist, grow and increase in number.

    Args:
        rng: random number generator.
        visits: number of time points.
        spacing: voxel size in mm.
        age: in years; ventricles widen with it.
    """
    brain = draw_brain(rng, spacing, ventricle_growth=float(np.clip(rng.normal(0.05 * (age - 30), 0.7), -0.5, 3.0)))
    lesions = draw_lesions(rng, brain, visits, spacing)
    vessels = draw_vessels(rng, brain)
    scans = []
    for visit in range(visits):
        share, signal = render_lesions(brain, lesions_at_visit(rng, lesions, visit))
        distractors = render_distractors(brain, draw_distractors(rng, brain)) * (share == 0)
        images = {c: simulate_channel(rng, c, brain, signal, vessels, distractors) for c in CHANNELS}
        scans.append(Scan(images, to_voxel_mask(share).astype(np.float32), block_mean(distractors), brain))
    return scans
