"""nnU-Net's `-pretrained_weights` from a data set with other labels: all but the layers of the labels are loaded."""

import pytest
import torch
from nnunetv2.run.run_training import maybe_load_checkpoint

from ser_nnunet.network.label_layers import label_dependent_tensors
from ser_nnunet.training.paper import SERTrainerPaper
from ser_nnunet.training.trainer import SERTrainer
from ser_nnunet.training.variants import SERTrainerNoSAM
from tests.training.helpers import GUIDED, start_epoch

VOLUMES = {"patch": (8, 32, 32), "configuration": "3d_fullres"}
IMAGES = {}


@pytest.fixture
def pretrained(make_trainer, tmp_path):
    """Save a checkpoint of a network for one class, and return its file and the network's tensors."""

    def train(trainer_class, dataset="binary", **plans):
        trainer = make_trainer(trainer_class, dataset, **plans)
        with torch.no_grad():
            for parameter in trainer.network.parameters():
                parameter.add_(0.125)
        trainer.save_checkpoint(str(tmp_path / "pretrained.pth"))
        return str(tmp_path / "pretrained.pth"), trainer.network.state_dict()

    return train


def load(trainer, file):
    """As `nnUNetv2_train ... -pretrained_weights FILE` does; return what was written to the log."""
    lines = []
    trainer.print_to_log_file = lambda *words, **_: lines.append(" ".join(map(str, words)))
    maybe_load_checkpoint(trainer, False, False, file)
    return lines


@pytest.mark.parametrize(
    ("trainer_class", "plans"),
    [
        pytest.param(SERTrainerNoSAM, IMAGES, id="2d"),
        pytest.param(SERTrainerNoSAM, VOLUMES, id="3d"),
        pytest.param(SERTrainerPaper, IMAGES, id="paper", marks=pytest.mark.slow),
    ],
)
def test_all_but_the_layers_of_the_labels_is_loaded(make_trainer, pretrained, trainer_class, plans):
    file, source = pretrained(trainer_class, **plans)
    trainer = make_trainer(trainer_class, "classes", **plans)
    untrained = {name: tensor.clone() for name, tensor in trainer.network.state_dict().items()}
    lines = load(trainer, file)
    changed = [name for name, tensor in source.items() if tensor.shape != untrained[name].shape]
    left_out = label_dependent_tensors(trainer.network)
    assert set(changed) <= set(left_out) and len(left_out) < 7
    for name, tensor in trainer.network.state_dict().items():
        assert torch.equal(tensor, untrained[name] if name in left_out else source[name]), name
    assert any(all(name in line for name in left_out) for line in lines), "the log names what keeps its initial values"


def test_a_guided_training_goes_on_from_them(make_trainer, make_batch, pretrained, sam_checkpoint):
    file, _ = pretrained(SERTrainer)
    trainer = make_trainer(SERTrainer, "regions")
    load(trainer, file)
    start_epoch(trainer, GUIDED)
    losses = [float(trainer.train_step(make_batch("regions"))["loss"]) for _ in range(3)]
    assert losses[-1] < losses[0]


def test_weights_from_before_the_layers_had_their_names(make_trainer, pretrained):
    """As the checkpoints of earlier versions, and nothing but the layers of the labels is left out."""
    file, source = pretrained(SERTrainerNoSAM)
    content = torch.load(file)
    content["network_weights"] = {name.replace("seg_layers.", ""): tensor for name, tensor in source.items()}
    torch.save(content, file)
    trainer = make_trainer(SERTrainerNoSAM, "classes")
    load(trainer, file)
    name = next(iter(source))
    assert torch.equal(trainer.network.state_dict()[name], source[name])


def test_other_input_channels_are_refused_and_the_log_says_how_many_are_expected(make_trainer, pretrained):
    file, _ = pretrained(SERTrainerNoSAM)
    trainer, lines = make_trainer(SERTrainerNoSAM, "two_channels", initialize=False), []
    trainer.print_to_log_file = lambda *words, **_: lines.append(" ".join(map(str, words)))
    with pytest.raises(AssertionError, match=r"patch_norm\.weight is not the same.*\[1\]"):
        maybe_load_checkpoint(trainer, False, False, file)
    assert "SERNet light: 2 input channels, 2 outputs, 1 prompt" in lines


def test_a_resumed_training_speaks_of_no_pretrained_weights(make_trainer, pretrained):
    file, _ = pretrained(SERTrainerNoSAM)
    trainer, lines = make_trainer(SERTrainerNoSAM), []
    trainer.print_to_log_file = lambda *words, **_: lines.append(" ".join(map(str, words)))
    trainer.load_checkpoint(file)
    assert not any("pretrained" in line for line in lines)
