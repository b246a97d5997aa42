"""Distributed training: two processes find the same weights, as one process does on the whole batch."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from tests.training.two_processes import CASES, COMPARED

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ranks(tmp_path_factory, sam_file):
    """Run all cases in two processes; return what each of them found, and what one process did alone."""
    folder = tmp_path_factory.mktemp("ranks")
    variables = {f"nnUNet_{kind}": str(folder / kind) for kind in ("raw", "preprocessed", "results")}
    environment = os.environ | variables | {"SER_SAM_CHECKPOINT": str(sam_file), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.training.two_processes", str(rank), str(folder)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(outputs)
    return [torch.load(folder / f"rank_{rank}.pt", weights_only=False) for rank in range(2)]


@pytest.mark.parametrize("name", CASES)
def test_both_processes_agree(ranks, name):
    """Gradients, weights, log and the weight of L_seg, with or without foreground in one of them."""
    first, second = (rank["found"][name] for rank in ranks)
    assert first["batch_size"] == second["batch_size"] == 2
    for kind in ("first", "gradients", "parameters"):
        for parameter, value in first[kind].items():
            assert torch.equal(value, second[kind][parameter]), (kind, parameter)
    assert any(gradient.any() for gradient in first["gradients"].values())
    np.testing.assert_equal(first["log"], second["log"])
    assert first["weight"] == second["weight"]
    assert np.isfinite(first["log"]["train_losses"])


@pytest.mark.parametrize("name", COMPARED)
def test_the_gradient_is_that_of_one_process_on_the_whole_batch(ranks, name):
    alone = ranks[0]["alone"][name]
    for parameter, gradient in ranks[0]["found"][name]["first"].items():
        torch.testing.assert_close(gradient, alone[parameter], rtol=1e-3, atol=1e-6, msg=parameter)


def test_the_weight_of_l_seg_is_measured_once_all_processes_can(ranks):
    """A batch without foreground in one process leaves it unmeasured in both."""
    assert ranks[0]["found"]["joint, one without foreground"]["weight"] < CASES["joint"].trainer.guidance_ratio
