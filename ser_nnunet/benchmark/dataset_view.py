"""A planned data set, and a view of it for the benchmark's own trainings: the user's folders are never written to."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from ser_nnunet.errors import UserError
from ser_nnunet.evaluation.case_files import list_cases
from ser_nnunet.nnunet.annotated_cases import find_unannotated
from ser_nnunet.nnunet.plans import PlannedConfiguration
from ser_nnunet.utils.files import read_json, replacing, write_json
from ser_nnunet.utils.hashing import text_sha256

COPIED = ("dataset.json", "dataset_fingerprint.json")
REFERENCES = "gt_segmentations"


@dataclass(frozen=True)
class PlannedDataset:
    """A planned and preprocessed data set, its configuration and folds.

    Attributes:
        folder: the data set's folder in nnUNet_preprocessed.
        plans_name: such as `nnUNetPlans`.
        configuration: such as `2d`.
        folds: of splits_final.json; nnU-Net's own five folds where there is no such file.
        batch_size: in a copy of the plan; None keeps the plan's.
        train_cases: how many of each fold's training cases are used; None takes all.
    """

    folder: Path
    plans_name: str
    configuration: str
    folds: tuple[int, ...]
    batch_size: int | None = None
    train_cases: int | None = None

    @property
    def planned(self) -> PlannedConfiguration:
        """The configuration of the plan, for this data set."""
        return PlannedConfiguration(self.plans, self.configuration, read_json(self.folder / "dataset.json"))

    def find_problems(self) -> list[str]:
        """Return what is missing, in sentences."""
        files = [self.folder / f"{self.plans_name}.json", *(self.folder / name for name in COPIED)]
        missing = [f"{file} is missing: plan the data set" for file in files if not file.is_file()]
        if missing:
            return missing
        if self.configuration not in self.plans["configurations"]:
            known = ", ".join(self.plans["configurations"])
            return [f"{files[0]} has no configuration {self.configuration}; it has {known}"]
        found = []
        if not self.cases:
            found.append(f"{self.cases_folder} holds no cases: run  nnUNetv2_preprocess -c {self.configuration}")
        if not (self.folder / REFERENCES).is_dir():
            found.append(f"{self.folder / REFERENCES} is missing: preprocess the data set")
        return found or self.find_split_problems()

    def find_split_problems(self) -> list[str]:
        """Return what is wrong with the folds and their cases, in sentences."""
        splits = self.splits
        if absent := [str(fold) for fold in self.folds if not 0 <= fold < len(splits)]:
            return [f"fold {', '.join(absent)} doesn't exist: there are folds 0 to {len(splits) - 1}"]
        used = {case for fold in self.folds for part in ("train", "val") for case in splits[fold][part]}
        lacking = sorted(used - set(self.cases))
        found = list_cases(lacking, f"{self.cases_folder} (preprocess again) lacks cases of the split:")
        for fold in self.folds:
            count = len(self.list_annotated(fold))
            if self.train_cases is not None and not 1 <= self.train_cases <= count:
                found.append(f"--train-cases {self.train_cases}: fold {fold} has {count} training cases")
        for one, other in combinations(self.folds, 2):
            shared = sorted({*splits[one]["val"]} & {*splits[other]["val"]})
            found += list_cases(shared, f"folds {one} and {other} cannot be pooled: both have the validation cases")
        return found

    @property
    def plans(self) -> dict[str, Any]:
        """The user's plans."""
        return read_json(self.folder / f"{self.plans_name}.json")

    @property
    def cases_folder(self) -> Path:
        """The folder of the configuration's preprocessed cases."""
        from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

        return self.folder / PlansManager(self.plans).get_configuration(self.configuration).data_identifier

    @property
    def cases(self) -> list[str]:
        """Names of the preprocessed cases, sorted."""
        return sorted(file.stem for file in self.cases_folder.glob("*.pkl"))

    @property
    def splits(self) -> list[dict[str, list[str]]]:
        """splits_final.json's content, or what nnU-Net would write there."""
        file = self.folder / "splits_final.json"
        if file.is_file():
            return read_json(file)
        from nnunetv2.utilities.crossval_split import generate_crossval_split

        splits = generate_crossval_split(self.cases, seed=12345, n_splits=5)
        return [{part: [str(case) for case in split[part]] for part in ("train", "val")} for split in splits]

    @property
    def validation_cases(self) -> dict[str, int]:
        """The held-out cases of all folds, each with its fold."""
        splits = self.splits
        return {case: fold for fold in self.folds for case in splits[fold]["val"]}

    @property
    def used_plans_name(self) -> str:
        """The plans' name in the view: `nnUNetPlans_b32` where the batch size is changed."""
        return self.plans_name if self.batch_size is None else f"{self.plans_name}_b{self.batch_size}"

    @property
    def plan_and_split_hash(self) -> str:
        """16 digits of the SHA-256 of plan and split (all folds), which a resumed benchmark must share."""
        content = json.dumps([self.plans, self.splits], sort_keys=True)
        return text_sha256(content)[:16]

    def list_annotated(self, fold: int) -> list[str]:
        """Return a fold's training cases without those in which every voxel has the ignore label."""
        cases = self.splits[fold]["train"]
        preprocessed = [case for case in cases if (self.cases_folder / f"{case}.pkl").is_file()]
        unannotated = set(find_unannotated(str(self.cases_folder), preprocessed, self.planned.label_manager))
        return [case for case in cases if case not in unannotated]

    def choose_train_cases(self, fold: int, seed: int) -> list[str]:
        """Return the training cases of a fold that are used, with annotation if their number is limited."""
        if self.train_cases is None:
            return list(self.splits[fold]["train"])
        return choose_cases(self.list_annotated(fold), self.train_cases, seed)

    def make_view(self, root: Path, seed: int) -> Path:
        """Make (or find) a folder for nnUNet_preprocessed below `root`; return it.

        Plans and split are copies with the batch size and training cases asked for, the latter in every fold; images
        are links. With fewer training cases every seed draws its own, the same for all trainers; a smaller number is
        part of a larger one.

        Raises:
            UserError: no links can be made below `root`.
        """
        view = root / ("all_cases" if self.train_cases is None else f"{self.train_cases}_cases_seed{seed}")
        if (view / self.folder.name).is_dir():
            return view
        plans = self.plans | {"plans_name": self.used_plans_name}
        if self.batch_size is not None:
            plans["configurations"][self.configuration]["batch_size"] = self.batch_size
        splits = [split | {"train": self.choose_train_cases(fold, seed)} for fold, split in enumerate(self.splits)]
        with replacing(view) as unfinished:
            folder = unfinished / self.folder.name
            cases_folder = folder / self.cases_folder.name
            cases_folder.mkdir(parents=True)
            for file in self.cases_folder.iterdir():  # one by one: nnU-Net may unpack beside them
                link_to(file, cases_folder / file.name)
            link_to(self.folder / REFERENCES, folder / REFERENCES)
            for name in COPIED:
                shutil.copyfile(self.folder / name, folder / name)
            write_json(folder / f"{self.used_plans_name}.json", plans)
            write_json(folder / "splits_final.json", splits)
        return view


def choose_cases(cases: list[str], count: int | None, seed: int) -> list[str]:
    """Return `count` of the cases (all if None), sorted: the first of a random order that `seed` fixes."""
    if count is None:
        return cases
    order = np.random.default_rng(seed).permutation(len(cases))
    return sorted(sorted(cases)[index] for index in order[:count])


def link_to(source: Path, link: Path) -> None:
    """Make a symbolic link; raises `UserError` where the file system has none."""
    try:
        link.symlink_to(source.resolve())
    except OSError as error:
        raise UserError(f"{link}: a link to {source} can't be made here ({error}): choose another -o") from error
