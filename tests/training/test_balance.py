"""L_seg's weight: its gradient in the prompt learner gets a share of L_dist's norm."""

import math

import pytest
import torch

from ser_nnunet.training.balance import GradientBalance, gradient_norm


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
def test_a_vanishing_or_invalid_gradient_isnt_amplified(slope):
    shared, balance = parameters(), GradientBalance(0.3)
    measured = balance.measure(sloped(shared, 1.0), sloped(shared, slope), shared)
    assert balance.weight == 0.3 and measured == (slope == 0.01)


def test_the_scale_of_half_precision_cancels_out():
    shared, plain, scaled = parameters(), GradientBalance(1.0), GradientBalance(1.0)
    plain.measure(sloped(shared, 1.0), sloped(shared, 8.0), shared)
    scaled.measure(sloped(shared, 1.0), sloped(shared, 8.0), shared, lambda loss: loss * 65536)
    assert scaled.weight == pytest.approx(plain.weight)


def test_half_precision_overflows_only_where_the_step_itself_would():
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


def test_the_norm_is_taken_over_all_parameters_and_sets_no_gradient():
    shared = parameters()
    loss = 3 * shared[0][0] + 4 * shared[1][0]
    assert gradient_norm(loss, shared) == pytest.approx(5.0)
    assert all(parameter.grad is None for parameter in shared)


@pytest.mark.parametrize("ratio", [0.0, -1.0, float("nan")])
def test_an_impossible_ratio_is_refused(ratio):
    with pytest.raises(ValueError, match="guidance_ratio must be above 0"):
        GradientBalance(ratio)
