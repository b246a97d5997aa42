"""L_seg's weight: its gradient in the prompt learner gets a share of L_dist's norm, and the log says so."""

import math

import pytest
import torch

from ser_nnunet.training.balance import GradientBalance, gradient_norm
from ser_nnunet.training.variants import SERTrainerJoint
from tests.training.test_trainer import GUIDED, start_epoch


def parameters():
    return [torch.nn.Parameter(torch.tensor([1.0, 2.0])), torch.nn.Parameter(torch.tensor([5.0]))]


def sloped(parameters, slope):
    """A loss whose gradient is `slope` in each of the first parameter's two entries, and none in the second."""
    return slope * parameters[0].sum()


@pytest.mark.parametrize(("ratio", "expected"), [(1.0, 0.1), (0.5, 0.05)])
def test_a_tenfold_gradient_gets_a_tenth_of_the_ratio(ratio, expected):
    shared, balance = parameters(), GradientBalance(ratio)
    balance.measure(sloped(shared, 2.0), sloped(shared, -20.0), shared)
    assert balance.weight == pytest.approx(expected)
    balance.measure(sloped(shared, 2.0), sloped(shared, 20.0), shared)
    assert balance.weight == pytest.approx(expected), "the same measurement changes nothing"


def test_later_measurements_are_smoothed_geometrically():
    shared, balance = parameters(), GradientBalance(1.0)
    balance.measure(sloped(shared, 1.0), sloped(shared, 100.0), shared)
    balance.measure(sloped(shared, 1.0), sloped(shared, 4.0), shared)
    assert balance.weight == pytest.approx(math.sqrt(1 / 100 * 1 / 4))


@pytest.mark.parametrize("slope", [0.01, 0.0, float("nan"), float("inf")])
def test_a_faint_or_broken_gradient_makes_no_loud_teacher(slope):
    shared, balance = parameters(), GradientBalance(0.3)
    measured = balance.measure(sloped(shared, 1.0), sloped(shared, slope), shared)
    assert balance.weight == 0.3 and measured == (slope == 0.01)


def test_the_scale_of_half_precision_cancels_out():
    shared, plain, scaled = parameters(), GradientBalance(1.0), GradientBalance(1.0)
    plain.measure(sloped(shared, 1.0), sloped(shared, 8.0), shared)
    scaled.measure(sloped(shared, 1.0), sloped(shared, 8.0), shared, lambda loss: loss * 65536)
    assert scaled.weight == pytest.approx(plain.weight)


def test_half_precision_overflows_only_where_the_steps_own_gradient_would():
    """At its weight L_seg's gradient fits below the bound, unweighted it wouldn't."""
    shared, balance = parameters(), GradientBalance(1.0)
    balance.measure(sloped(shared, 1.0), sloped(shared, 100.0), shared)
    measured = balance.measure(sloped(shared, 1.0), sloped(shared, 50.0), shared, HalfPrecision.apply)
    assert measured and balance.weight == pytest.approx(math.sqrt(1 / 100 * 1 / 50))


class HalfPrecision(torch.autograd.Function):
    """A scaler at 60,000: gradients beyond float16's 65,504 become infinite."""

    @staticmethod
    def forward(context, loss):
        return loss * 60000

    @staticmethod
    def backward(context, gradient):
        return (gradient * 60000).half().float()


def test_a_norm_is_taken_over_all_parameters_and_leaves_them_alone():
    shared = parameters()
    loss = 3 * shared[0][0] + 4 * shared[1][0]
    assert gradient_norm(loss, shared) == pytest.approx(5.0)
    assert all(parameter.grad is None for parameter in shared)


@pytest.mark.parametrize("ratio", [0.0, -1.0, float("nan")])
def test_an_impossible_ratio_is_refused(ratio):
    with pytest.raises(ValueError, match="guidance_ratio must be above 0"):
        GradientBalance(ratio)


class TestJointTraining:
    """SERTrainerJoint measures on the first batch of an epoch, and its step obeys."""

    @pytest.fixture
    def trainer(self, make_trainer, sam_file, monkeypatch):
        """A trainer whose toy SAM gives L_seg a long gradient, as a trained one does."""
        monkeypatch.setenv("SER_SAM_CHECKPOINT", str(sam_file))
        trainer = make_trainer(SERTrainerJoint)
        plain = trainer.seg_loss
        trainer.seg_loss = lambda *arguments: 1000 * plain(*arguments)
        return trainer

    def test_a_compiled_dice_can_be_measured(self, trainer, make_batch):
        """nnU-Net compiles L_dist's Dice on a GPU; a compiled graph can be gone through once."""
        trainer.loss.dc = torch.compile(trainer.loss.dc, backend="aot_eager")
        batch = make_batch()
        logits, _ = trainer.ser_net(batch["data"])
        trainer.loss(logits, batch["target"]).backward()  # compiles the backward pass as an ordinary training does
        start_epoch(trainer, GUIDED)
        trainer._balance(batch["data"], batch["target"])
        assert trainer.balance.measured

    def test_the_ratio_can_be_set_before_the_trainer_is_initialised(self, trainer):
        trainer.was_initialized, trainer.guidance_ratio = False, 0.5
        trainer.initialize()
        assert trainer.balance.ratio == 0.5

    def test_a_measurement_that_failed_is_made_again_in_the_next_step(self, trainer, make_batch, monkeypatch):
        start_epoch(trainer, GUIDED)
        answers = iter([False, True])
        calls = []
        monkeypatch.setattr(trainer.balance, "measure", lambda *arguments: calls.append(1) or next(answers))
        for _ in range(3):
            trainer.train_step(make_batch())
        assert len(calls) == 2

    def learner_gradient(self, trainer, batch, silenced):
        """Return the prompt learner's gradient of one step with one loss silenced, before clipping."""
        keep, lengths = getattr(trainer, silenced), []
        trainer._balance(batch["data"], batch["target"])
        setattr(trainer, silenced, lambda *arguments: keep(*arguments) * 0)
        learner = list(trainer.ser_net.prompt_learner.parameters())
        trainer._descend = lambda loss: lengths.append(gradient_norm(loss, learner))
        trainer.train_step(batch)
        setattr(trainer, silenced, keep)
        return float(lengths[0])

    def test_both_gradients_have_the_lengths_that_were_asked_for(self, trainer, make_batch):
        start_epoch(trainer, GUIDED)
        batch = make_batch()
        seg = self.learner_gradient(trainer, batch, "loss")
        dist = self.learner_gradient(trainer, batch, "seg_loss")
        assert trainer.balance.weight < trainer.guidance_ratio
        assert seg == pytest.approx(trainer.guidance_ratio * dist, rel=0.01)

    def test_an_epoch_measures_once_and_the_log_tells_the_weight(self, trainer, make_batch):
        weights, said = [], []
        trainer.print_to_log_file = lambda *words, **_: said.append(" ".join(map(str, words)))
        for epoch in range(2):
            trainer.num_epochs = 2
            trainer.current_epoch = epoch
            trainer.on_train_epoch_start()
            outputs = []
            for _ in range(2):
                outputs.append(trainer.train_step(make_batch()))
                weights.append(trainer.balance.weight)
            trainer.on_train_epoch_end(outputs)
        assert weights[0] == weights[1] != weights[2] == weights[3]
        assert any(f"at weight {weights[0]:.3g}, Dice of SAM's masks" in line for line in said)
