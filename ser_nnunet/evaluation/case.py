"""All metrics of one case; what a process computes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from ser_nnunet.evaluation.case_files import CaseFiles
from ser_nnunet.evaluation.definitions import Measurement
from ser_nnunet.evaluation.labels import Labels
from ser_nnunet.evaluation.masks import ClassMasks, MaskError, choose_reader, pair_masks, read_label_map
from ser_nnunet.evaluation.settings import Settings


@dataclass
class CaseResult:
    """Rows of one case: metrics and lesions of every method and class, or the reasons why there are none."""

    metrics: list[dict[str, Any]] = field(default_factory=list)
    lesions: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @contextmanager
    def collect_problem(self, case: str) -> Iterator[None]:
        """Keep a `MaskError` of the block as a problem, so that the other files are checked, too."""
        try:
            yield
        except MaskError as error:
            self.problems.append(f"{case}: {error}")


def evaluate_case(case: CaseFiles, labels: Labels, settings: Settings) -> CaseResult:
    """Evaluate every method's prediction of one case, all classes; keep the problems of all its files."""
    result = CaseResult()
    with result.collect_problem(case.name):
        reader, reference = choose_reader(labels, case.files), None
        with result.collect_problem(case.name):
            reference = read_label_map(case.reference, reader, labels)
        for method, file in case.predictions.items():
            with result.collect_problem(case.name):
                prediction = read_label_map(file, reader, labels)
                if reference is None:
                    continue
                masks = pair_masks(reference, prediction, file)
                for name, label in labels.classes.items():
                    measured = measure_class(masks.select_class(name, label, labels.ignore), settings)
                    row = {"method": method, "case": case.name, "class": name}
                    result.metrics.append(row | measured.values)
                    result.lesions += [row | lesion for lesion in measured.lesions]
    return result


def check_voxels(case: CaseFiles, labels: Labels, skip: frozenset[Path] = frozenset()) -> CaseResult:
    """Read every file of a case, but those to skip, and keep what is wrong with its voxels; compute nothing."""
    result = CaseResult()
    files = [file for file in case.files if file not in skip]
    if not files:
        return result
    with result.collect_problem(case.name):
        reader = choose_reader(labels, files)
        for file in files:
            with result.collect_problem(case.name):
                read_label_map(file, reader, labels)
    return result


def measure_class(masks: ClassMasks, settings: Settings) -> Measurement:
    """Measure the metrics of every chosen group for one class.

    Raises:
        ValueError: a group's module and its entry in `definitions.py` don't name the same metrics.
    """
    whole = Measurement({})
    for group in settings.metric_groups.values():
        found: Measurement = import_module(group.module).measure(masks, settings)
        defined = {metric.name for metric in group.columns(settings.stratum_names)}
        if found.values.keys() != defined:
            different = ", ".join(sorted(found.values.keys() ^ defined))
            raise ValueError(f"{group.module} and its definition don't name the same metrics: {different}")
        whole.values.update(found.values)
        whole.lesions.extend(found.lesions)
    return whole


def use_one_thread() -> None:
    """Limit torch to one thread: the processes occupy the cores already."""
    import torch

    torch.set_num_threads(1)
