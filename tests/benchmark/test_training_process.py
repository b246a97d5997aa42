"""Which checkpoint an interrupted training resumes from, and bfloat16 on the CPU."""

from types import SimpleNamespace

import pytest
import torch

from ser_nnunet.benchmark.training_process import find_last_checkpoint, use_bfloat16


def test_incomplete_checkpoints_are_ignored(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "checkpoint_best.pth")
    whole = (tmp_path / "checkpoint_best.pth").read_bytes()
    (tmp_path / "checkpoint_latest.pth").write_bytes(whole[: len(whole) // 2])
    assert find_last_checkpoint(tmp_path).name == "checkpoint_best.pth"
    torch.save({"epoch": 9}, tmp_path / "checkpoint_final.pth")
    assert find_last_checkpoint(tmp_path).name == "checkpoint_final.pth"
    assert find_last_checkpoint(tmp_path / "nothing") is None


class Network(torch.nn.Module):
    """A convolution, whose output is returned as it is, or with deep supervision in a list or tuple."""

    def __init__(self, collect):
        super().__init__()
        self.convolution, self.collect = torch.nn.Conv2d(1, 2, 3), collect

    def forward(self, image):
        output = self.convolution(image)
        return output if self.collect is None else self.collect([output, output[..., ::2]])


@pytest.mark.parametrize("collect", [None, list, tuple])
def test_bfloat16_is_what_the_network_computes_in_and_float32_what_the_loss_sees(collect):
    torch.manual_seed(0)
    network, image, seen = Network(collect), torch.randn(1, 1, 8, 8), []
    exact = network(image) if collect is None else network(image)[0]
    network.convolution.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))

    def initialize():  # as nnU-Net's trainers do
        trainer.network, trainer.was_initialized = network, True

    trainer = SimpleNamespace(was_initialized=False, initialize=initialize)
    use_bfloat16(trainer)
    outputs = trainer.network(image)
    assert collect is None or type(outputs) is collect
    first, *others = [outputs] if collect is None else outputs
    assert seen == [torch.bfloat16] and {each.dtype for each in (first, *others)} == {torch.float32}
    assert not torch.equal(first, exact) and torch.allclose(first, exact, atol=0.02)
    first.sum().backward()
    weight = network.convolution.weight
    assert weight.dtype == weight.grad.dtype == torch.float32 and weight.grad.abs().sum() > 0
