"""A view of a planned data set in which some training cases keep their labels and the others lose them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from ser_nnunet.benchmark.dataset_view import REFERENCES, PlannedDataset, link_to
from ser_nnunet.errors import UserError
from ser_nnunet.utils.files import read_json, replacing, write_json

LOCATIONS = 10_000  # annotated voxels that are kept per case, as many as nnU-Net's preprocessing keeps of a class


def make_unlabelled_view(dataset: PlannedDataset, root: Path, seed: int, fold: int) -> Path:
    """Make (or find) a folder for nnUNet_preprocessed below `root`, for trainers that learn from unlabelled cases.

    The same cases as in `PlannedDataset.make_view` keep their labels; all voxels of the fold's other training cases get
    the ignore label, as if nnU-Net had preprocessed them so (-1 stays outside of the content). Images are links.
    Validation cases are as they were.

    Args:
        dataset: with a number of training cases.
        root: where it is made.
        seed: which draws the cases.
        fold: whose training cases they are.

    Raises:
        UserError: the cases are stored in a format of earlier versions of nnU-Net, or no links can be made.
    """
    from batchgenerators.utilities.file_and_folder_operations import write_pickle
    from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class, nnUNetDatasetBlosc2

    view = root / f"{dataset.train_cases}_cases_seed{seed}_fold{fold}_unlabelled"
    if (view / dataset.folder.name).is_dir():
        return view
    split = dataset.splits[fold]
    labelled = set(dataset.choose_train_cases(fold, seed))
    described = read_json(dataset.folder / "dataset.json")
    labels = described["labels"]
    ignored = labels.setdefault("ignore", 1 + max(np.hstack(list(labels.values())).tolist()))
    plans = dataset.plans | {"plans_name": dataset.used_plans_name}
    if dataset.batch_size is not None:
        plans["configurations"][dataset.configuration]["batch_size"] = dataset.batch_size
    storage: Any = infer_dataset_class(str(dataset.cases_folder))
    if storage is not nnUNetDatasetBlosc2:
        raise UserError(
            f"{dataset.cases_folder} is in an earlier format of nnU-Net, whose labels have no files of their own: "
            "preprocess the data set again"
        )
    cases = sorted([*split["train"], *split["val"]])
    stored = storage(str(dataset.cases_folder), cases)
    with replacing(view) as unfinished:
        folder = unfinished / dataset.folder.name
        cases_folder = folder / dataset.cases_folder.name
        cases_folder.mkdir(parents=True)
        for case in cases:
            link_to(dataset.cases_folder / f"{case}.b2nd", cases_folder / f"{case}.b2nd")
            _, kept, _, properties = stored.load_case(case)
            segmentation = np.asarray(kept[:])
            if case in split["train"] and case not in labelled:
                segmentation = np.where(segmentation < 0, segmentation, ignored).astype(segmentation.dtype)
            properties["class_locations"] = add_annotated(properties["class_locations"], segmentation, ignored)
            storage.save_seg(segmentation, str(cases_folder / f"{case}_seg"), kept.chunks, kept.blocks)
            write_pickle(properties, str(cases_folder / f"{case}.pkl"))
        link_to(dataset.folder / REFERENCES, folder / REFERENCES)
        shutil.copyfile(dataset.folder / "dataset_fingerprint.json", folder / "dataset_fingerprint.json")
        write_json(folder / "dataset.json", described)
        write_json(folder / f"{dataset.used_plans_name}.json", plans)
        write_json(folder / "splits_final.json", [split] * (fold + 1))  # only this fold is used
    return view


def add_annotated(locations: dict[Any, Any], segmentation: np.ndarray, ignored: int) -> dict[Any, Any]:
    """Return a case's class locations with those of all annotated voxels, as nnU-Net's preprocessing writes them.

    Args:
        locations: class or region -> indices `(N, 4)`.
        segmentation: `(1, D, H, W)`.
        ignored: the ignore label.
    """
    key = (-1, *range(ignored))
    annotated = np.argwhere(segmentation != ignored)  # outside of the image's content, too
    if not ((segmentation >= 0) & (segmentation != ignored)).any():
        locations = {each: [] for each in locations}
    chosen = np.random.default_rng(0).permutation(len(annotated))[:LOCATIONS]
    return locations | {key: annotated[chosen] if len(annotated) else []}
