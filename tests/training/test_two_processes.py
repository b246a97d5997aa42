"""Distributed training: two processes find the same weights, as one process does on the whole batch."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ser_nnunet.benchmark.dataset_view import PlannedDataset
from ser_nnunet.benchmark.unlabelled_view import make_unlabelled_view
from tests.benchmark.tiny_dataset import NAME
from tests.training.two_processes import CASES, COMPARED
from tests.training.two_trainings import TRAINERS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ranks(tmp_path_factory, sam_file):
    """What each of two processes found in all cases, and what one process did alone."""
    return run_both("two_processes", tmp_path_factory.mktemp("ranks"), sam_file)


def run_both(module, folder, sam_file):
    """Run a module of this folder as two processes; return what each of them saved."""
    variables = {f"nnUNet_{kind}": str(folder / kind) for kind in ("raw", "preprocessed", "results")}
    variables |= {"SER_SAM_CHECKPOINT": str(sam_file), "OMP_NUM_THREADS": "1", "nnUNet_n_proc_DA": "0"}
    environment = os.environ | variables
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", f"tests.training.{module}", str(rank), str(folder)],
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


@pytest.fixture(scope="module")
def trainings(tmp_path_factory, tiny, sam_file):
    """What both processes of three whole trainings found, and the folder of these."""
    folder = tmp_path_factory.mktemp("trainings")
    tiny = Path(shutil.copytree(tiny, folder / "tiny"))  # embeddings are kept beside the cases
    dataset = PlannedDataset(tiny / NAME, "nnUNetPlans", "2d", (0,), train_cases=2)
    few = make_unlabelled_view(dataset, folder / "views", seed=0, fold=0)
    roots = {name: str(tiny if name == "SERTrainerCached" else few) for name in TRAINERS}
    (folder / "trainings.json").write_text(json.dumps(roots))
    return run_both("two_trainings", folder, sam_file), folder


@pytest.mark.parametrize("name", TRAINERS)
def test_both_processes_of_a_whole_training_agree(trainings, name):
    """Embeddings and pseudo-labels are made in parts, and the weights stay the same in both."""
    first, second = (rank[name] for rank in trainings[0])
    folder = trainings[1]
    assert first["batch_size"] == second["batch_size"] == 2
    for parameter, value in first["parameters"].items():
        assert torch.equal(value, second["parameters"][parameter]), parameter
    np.testing.assert_equal(first["log"], second["log"])
    assert len(first["log"]["train_losses"]) == 3 and np.isfinite(first["log"]["train_losses"]).all()
    assert first["labelled"] == second["labelled"], "every process sees the pseudo-labels of both"
    assert len(first["labelled"]) == ("Semi" in name) and all(len(cases) >= 2 for cases in first["labelled"])
    (final,) = (folder / "results").rglob(f"{name}__*/fold_0/checkpoint_final.pth")
    saved = torch.load(final, weights_only=False)["network_weights"]
    assert all(torch.equal(saved[parameter], value) for parameter, value in first["parameters"].items())
