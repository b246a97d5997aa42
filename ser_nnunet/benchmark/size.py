"""`benchmark size`: parameters, multiply-accumulates, bytes and memory, side by side."""

from __future__ import annotations

import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tqdm import tqdm

from ser_nnunet.benchmark.benchmark_settings import SizeSettings, refuse_problems
from ser_nnunet.benchmark.counting import count_macs, count_weight_bytes
from ser_nnunet.benchmark.peak_memory import measure_peak
from ser_nnunet.benchmark.plan_source import load_plans
from ser_nnunet.benchmark.provenance import collect_provenance
from ser_nnunet.benchmark.systems import System, list_systems
from ser_nnunet.benchmark.tables import NOT_MEASURED, format_number, write_results
from ser_nnunet.network.layers import count_parameters

NOTES = [
    "MACs: torch.utils.flop_counter / 2, which counts convolutions and matrix products (attention's too), no"
    " normalisation, activation or resampling.",
    "A volume's MACs: nnU-Net's sliding window (compute_steps_for_sliding_window, tiles overlap by half, 2D: one slice"
    " per call), without and with mirroring along all axes of the patch (nnU-Net's default). SAM pipelines process"
    " every axial slice whole, once.",
    "SAM pipelines: the paper's prompt learner at 512 pixels (HarDNet-85 without its unused last stage) and the whole"
    " SAM at 1024; counted on the meta device, without weights.",
    "Weights: network_weights as nnU-Net's checkpoint holds them, float32, without the optimiser's state.",
    "Memory: what one forward pass of one patch or slice (batch 1) needs at its peak beyond the loaded network, in a"
    " process of its own, the library's buffers included; training: forward and backward pass, gradients included, the"
    " optimiser's state and nnU-Net's deep supervision not, for networks of the same patch.",
]


def run_size(settings: SizeSettings) -> list[Path]:
    """Count, write size.csv and size.md; return both.

    Raises:
        UserError: what is asked for doesn't exist, the plan names no network of nnU-Net's, or the memory couldn't be
            measured.
    """
    refuse_problems(settings.find_problems())
    planned, resenc = load_plans(settings.plan)
    with_sam = find_spec("segment_anything") is not None
    notes = NOTES if with_sam else [*NOTES, "No SAM pipelines: they need  pip install 'ser-nnunet[sam]'."]
    configuration = settings.plan.configuration
    about = collect_provenance(
        settings.device,
        configuration=configuration,
        volume=" x ".join(map(str, planned.volume)),
        channels=planned.channels,
        classes=planned.prompts,
    )
    table = count_systems(list_systems(planned, resenc, with_sam), settings)
    heading = f"Sizes for {planned.plans_manager.dataset_name}, {configuration}, volume {about['volume']}"
    return write_results(settings.output, "size", table, [(heading, format_sizes(table))], notes, about)


def count_systems(systems: list[System], settings: SizeSettings) -> pd.DataFrame:
    """Return one row per system; ratios are relative to the first (nnU-Net)."""
    rows = []
    for system in tqdm(systems, desc="sizes", unit="system"):
        measured = settings.memory and (system.kind != "sam" or system.variant in settings.sam_memory)
        memory = measure_peak(system, settings.device) if measured else math.nan
        same_patch = system.kind != "sam" and system.input_shape == systems[0].input_shape
        trained = settings.training_memory and same_patch  # a ResEnc patch may need more memory than there is
        training = measure_peak(system, settings.device, training=True) if trained else math.nan
        rows.append(count_system(system) | {"forward_peak_bytes": memory, "training_peak_bytes": training})
    table = pd.DataFrame(rows)
    for column in ("parameters", "macs_call", "macs_volume", "macs_volume_mirrored"):
        table[f"{column}_ratio"] = table[column] / table[column].iloc[0]
    return table


def count_system(system: System) -> dict[str, Any]:
    """Return what can be counted without running anything."""
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
        "macs_volume_mirrored": macs * system.calls * system.mirrorings,
        "weights_bytes": count_weight_bytes(shadow if system.kind == "sam" else system.build()),
    }


def format_sizes(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table as text: millions, GMACs, MB, and fractions of nnU-Net."""

    def in_units_of(unit: float, column: str) -> pd.Series:
        return table[column].map(lambda count: format_number(count / unit, absent=NOT_MEASURED))

    def of_nnunet(ratio: float) -> str:
        return f"1/{format_number(1 / ratio, 2)}" if ratio < 1 else format_number(ratio, 2)

    return pd.DataFrame(
        {
            "system": table["system"],
            "input of a call": table["input"],
            "parameters (M)": in_units_of(1e6, "parameters"),
            "of nnU-Net's": table["parameters_ratio"].map(of_nnunet),
            "GMACs per call": in_units_of(1e9, "macs_call"),
            "calls per volume": table["calls"],
            "TMACs per volume": in_units_of(1e12, "macs_volume"),
            "mirrored": in_units_of(1e12, "macs_volume_mirrored"),
            "of nnU-Net's ": table["macs_volume_mirrored_ratio"].map(of_nnunet),
            "weights (MB)": in_units_of(1e6, "weights_bytes"),
            "forward peak (MB)": in_units_of(1e6, "forward_peak_bytes"),
            "training peak (MB)": in_units_of(1e6, "training_peak_bytes"),
        }
    )
