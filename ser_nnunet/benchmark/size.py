"""`ser-nnunet benchmark size`: parameters, multiply-accumulates, bytes and memory, side by side."""

from __future__ import annotations

import argparse
import math
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pandas as pd

from ser_nnunet.benchmark.tables import words, write_results

if TYPE_CHECKING:
    from ser_nnunet.benchmark.systems import System

NOTES = [
    "MACs: torch.utils.flop_counter / 2, which counts convolutions and matrix products (attention's too), no"
    " normalisation, activation or resampling.",
    "A volume's MACs: nnU-Net's sliding window (compute_steps_for_sliding_window, tiles overlap by half, 2D: one slice"
    " per call), without and with mirroring along all axes of the patch (nnU-Net's default). SAM pipelines see every"
    " axial slice whole, once.",
    "SAM pipelines: the paper's prompt learner at 512 pixels (HarDNet-85 without its unused last stage) and the whole"
    " SAM at 1024; counted on the meta device, without weights.",
    "Weights: network_weights as nnU-Net's checkpoint holds them, float32, without the optimiser's state.",
    "Memory: what one forward pass of one patch or slice (batch 1) needs at its peak beyond the loaded network, in a"
    " process of its own, the library's buffers included; a dash: not measured.",
]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what only `size` has."""
    parser.add_argument("--no-memory", action="store_true", help="skip the memory of a forward pass (a few seconds)")
    sizes = "SAM pipelines whose memory is measured too, with random weights: ViT-B takes a minute on a CPU"
    parser.add_argument("--sam-memory", nargs="+", default=[], metavar="SIZE", help=sizes)


def run(args: argparse.Namespace) -> int:
    """Count, write size.csv and size.md, show the table."""
    from ser_nnunet.benchmark.plan_source import planned_from
    from ser_nnunet.benchmark.provenance import provenance
    from ser_nnunet.benchmark.systems import SAM_SIZES, systems_of
    from ser_nnunet.errors import UserError

    unknown = set(args.sam_memory) - set(SAM_SIZES)
    if unknown:
        raise UserError(f"--sam-memory: {', '.join(sorted(unknown))} unknown; there are {', '.join(SAM_SIZES)}")
    planned, resenc = planned_from(args)
    with_sam = find_spec("segment_anything") is not None
    notes = NOTES if with_sam else [*NOTES, "No SAM pipelines: they need  pip install 'ser-nnunet[sam]'."]
    systems = systems_of(planned, resenc, with_sam)
    about = provenance(
        args.device,
        configuration=args.c,
        volume=" x ".join(map(str, planned.volume)),
        channels=planned.channels,
        classes=planned.prompts,
    )
    table = count_systems(systems, args)
    heading = f"Sizes for {planned.manager.dataset_name}, {args.c}, volume {about['volume']}"
    written = write_results(args.o, "size", table, [(heading, readable(table))], notes, about)
    print(written[1].read_text(encoding="utf-8"))
    print(f"written to {', '.join(map(str, written))}")
    return 0


def count_systems(systems: list[System], args: argparse.Namespace) -> pd.DataFrame:
    """Return one row per system; ratios are relative to the first (nnU-Net)."""
    from tqdm import tqdm

    rows = []
    for system in tqdm(systems, desc="sizes", unit="system"):
        measured = not args.no_memory and (system.kind != "sam" or system.variant in args.sam_memory)
        rows.append(count_system(system) | {"forward_peak_bytes": peak(system, args.device) if measured else math.nan})
    table = pd.DataFrame(rows)
    for column in ("parameters", "macs_call", "macs_volume", "macs_volume_mirrored"):
        table[f"{column}_ratio"] = table[column] / table[column].iloc[0]
    return table


def count_system(system: System) -> dict[str, Any]:
    """Return what can be counted without running anything."""
    import torch

    from ser_nnunet.benchmark.counting import count_macs, count_parameters, weights_bytes

    with torch.device("meta"):
        shadow = system.build().to("meta")  # SAM makes its pixel means on the CPU, whatever the default device
        macs = count_macs(shadow, system.input_shape)
    return {
        "system": system.name,
        "parameters": count_parameters(shadow),
        "input": " x ".join(map(str, system.input_shape[1:])),
        "macs_call": macs,
        "calls": system.calls,
        "macs_volume": macs * system.calls,
        "macs_volume_mirrored": macs * system.calls * system.mirrored,
        "weights_bytes": weights_bytes(shadow if system.kind == "sam" else system.build()),
    }


def peak(system: System, device: str) -> int:
    """Return the peak memory of a forward pass in bytes."""
    from ser_nnunet.benchmark.forward_memory import forward_peak

    return forward_peak(system, device)


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table for people: millions, GMACs, MB, and fractions of nnU-Net."""

    def of_nnunet(ratio: float) -> str:
        return f"1/{words(1 / ratio, 2)}" if ratio < 1 else words(ratio, 2)

    return pd.DataFrame(
        {
            "system": table["system"],
            "input of a call": table["input"],
            "parameters (M)": table["parameters"].map(lambda count: words(count / 1e6)),
            "of nnU-Net's": table["parameters_ratio"].map(of_nnunet),
            "GMACs per call": table["macs_call"].map(lambda count: words(count / 1e9)),
            "calls per volume": table["calls"],
            "TMACs per volume": table["macs_volume"].map(lambda count: words(count / 1e12)),
            "mirrored": table["macs_volume_mirrored"].map(lambda count: words(count / 1e12)),
            "of nnU-Net's ": table["macs_volume_mirrored_ratio"].map(of_nnunet),
            "weights (MB)": table["weights_bytes"].map(lambda count: words(count / 1e6)),
            "forward peak (MB)": table["forward_peak_bytes"].map(lambda count: words(count / 1e6)),
        }
    )
