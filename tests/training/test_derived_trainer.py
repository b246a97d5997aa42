"""The derived trainer that docs/training.md shows does what its docstring says."""

import pytest
import torch

from tests.conftest import REPOSITORY
from tests.docs.markdown_pages import code_blocks


@pytest.fixture
def trainer_class():
    (block,) = (block for block in code_blocks(REPOSITORY / "docs/training.md") if "SERTrainerSides" in block.text)
    namespace = {}
    exec(block.text, namespace)
    return namespace["SERTrainerSides"]


def test_the_documented_trainer_has_its_settings(make_trainer, trainer_class):
    trainer = make_trainer(trainer_class)
    assert (trainer.num_epochs, trainer.batch_size) == (300, 24)
    *_, mirror_axes = trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    assert mirror_axes is None and trainer.inference_allowed_mirroring_axes is None
    assert trainer.loss.weight_ce == 2 and make_trainer().loss.weight_ce == 1


def test_the_documented_trainer_trains_and_needs_no_file_for_predictions(
    make_trainer, make_batch, trainer_class, tmp_path
):
    trainer = make_trainer(trainer_class)
    losses = [float(trainer.train_step(make_batch())["loss"]) for _ in range(3)]
    assert losses[-1] < losses[0]
    trainer.save_checkpoint(str(tmp_path / "checkpoint.pth"))
    content = torch.load(tmp_path / "checkpoint.pth", weights_only=True)
    assert (content["trainer_name"], content["ser_nnunet"]["trainer"]) == ("nnUNetTrainer", "SERTrainerSides")
