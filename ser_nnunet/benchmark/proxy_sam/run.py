"""`benchmark proxy-sam`: train a proxy SAM and write its checkpoint, its history and its provenance."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from tqdm import tqdm

from ser_nnunet.benchmark.benchmark_settings import ProxySamSettings, refuse_problems
from ser_nnunet.benchmark.dataset_view import PlannedDataset
from ser_nnunet.benchmark.provenance import collect_provenance
from ser_nnunet.errors import UserError
from ser_nnunet.nnunet.paths import preprocessed_dataset
from ser_nnunet.sam.checkpoint import load_sam
from ser_nnunet.utils.files import replacing, write_json, write_text

if TYPE_CHECKING:
    from ser_nnunet.benchmark.proxy_sam.training import Progress
    from ser_nnunet.benchmark.proxy_sam.training_slices import SliceSource

NAME = "proxy_sam"
IMAGE_SIZE = 256  # of a proxy that begins anew


def describe(settings: ProxySamSettings) -> str:
    """Return what the proxy is and is not."""
    regions = "regions drawn without labels"
    known = "none of SAM's knowledge of other images"
    if settings.labels:
        regions += " and with the classes that their labels name"
        known += ", but has seen the task's labels"
    if settings.checkpoint is not None:
        what = {"all": "It is", "encoder": "Its image encoder is", "decoder": "Its mask decoder is"}[settings.part]
        return (
            f"This is {settings.checkpoint.name}, with what it knows of the images that it was trained on. {what} "
            f"trained further on the images of these training cases with {regions}."
        )
    return (
        "This is NOT SAM: a few million parameters, trained on the images of these training cases with "
        f"{regions}. It follows prompts and has {known}."
    )


def run_proxy_sam(settings: ProxySamSettings) -> tuple[Path, list[Progress]]:
    """Train, then write `proxy_sam.pth` (a state dict, as SAM's checkpoints are), `.csv` and `.json`.

    Returns:
        The checkpoint, and loss and overlap of every step.

    Raises:
        UserError: everything that would stop the training, before it starts.
    """
    sources = find_slices(settings)
    from ser_nnunet.benchmark.proxy_sam.training import build_proxy, choose_trained, train_proxy

    history = []
    if settings.checkpoint is None:
        sam = build_proxy(settings.image_size or IMAGE_SIZE, settings.seed, settings.device)
    else:
        sam = load_sam(settings.checkpoint, settings.image_size).to(settings.device).train()
    choose_trained(sam, settings.part)
    with tqdm(total=settings.steps, unit="step") as bar:
        for progress in train_proxy(sam, sources, settings.steps, settings.seed):
            history.append(progress)
            bar.set_postfix_str(f"{progress.kind}: IoU {progress.overlap:.2f}", refresh=False)
            bar.update()
    checkpoint = settings.output / f"{NAME}.pth"
    with replacing(checkpoint) as unfinished:
        torch.save({name: weight.cpu() for name, weight in sam.state_dict().items()}, unfinished)
    write_text(settings.output / f"{NAME}.csv", format_history(history))
    about = collect_provenance(
        settings.device,
        fold=settings.fold,
        steps=settings.steps,
        image_size=sam.image_encoder.img_size,
        seed=settings.seed,
        checkpoint=settings.checkpoint.name if settings.checkpoint else "",
        trained=settings.part,
    )
    labelled = {source.folder.parent.name: sorted(source.labelled) for source in sources}
    images = {source.folder.parent.name: list(source.cases) for source in sources}
    write_json(
        settings.output / f"{NAME}.json", {"notice": describe(settings), **about, "images": images, "labels": labelled}
    )
    return checkpoint, history


def find_slices(settings: ProxySamSettings) -> list[SliceSource]:
    """Return the cases that slices are drawn from. Raises `UserError` with everything that would stop the training."""
    try:
        from ser_nnunet.benchmark.proxy_sam.training_slices import SliceSource
    except ImportError as error:
        raise UserError(f"{error}: install SAM's code with  pip install 'ser-nnunet[sam]'") from error

    problems = settings.find_problems()
    sources = []
    for name in settings.datasets:
        dataset = PlannedDataset(preprocessed_dataset(name), settings.plans_name, "2d", (settings.fold,))
        found = dataset.find_problems()
        problems += found
        if not found:
            plan = dataset.plans["configurations"]["2d"]
            cases = tuple(dataset.splits[settings.fold]["train"])
            if unknown := sorted(set(settings.unlabelled) - set(cases)):
                problems.append(f"--unlabelled: {', '.join(unknown)} are no training cases of {dataset.folder.name}")
            patch, masked = tuple(plan["patch_size"]), plan["use_mask_for_norm"][0]
            labelled = frozenset(set(cases) - set(settings.unlabelled)) if settings.labels else frozenset()
            sources.append(SliceSource(dataset.cases_folder, cases, patch, masked, labelled))
    refuse_problems(problems)
    return sources


def format_history(history: list[Progress]) -> str:
    """Return one line of CSV per step: its number, the kind of prompt, loss and mean IoU."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["step", "prompt", "loss", "iou"])
    writer.writerows([row.step, row.kind, f"{row.loss:.4f}", f"{row.overlap:.4f}"] for row in history)
    return stream.getvalue()
