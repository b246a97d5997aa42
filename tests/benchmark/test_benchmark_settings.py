"""What the benchmarks can be asked for, without anything slow being imported."""

import subprocess
import sys

import pytest

from ser_nnunet.benchmark.benchmark_settings import AccuracySettings, PlanSettings, SpeedSettings


@pytest.mark.parametrize("kind", ["size", "speed", "accuracy", "proxy-sam"])
def test_help_imports_nothing_slow(kind):
    code = (
        "import sys\nfrom ser_nnunet.cli import main\n"
        f"try: main(['benchmark', '{kind}', '--help'])\nexcept SystemExit: pass\n"
        "print('IMPORTED', sorted({'torch', 'pandas', 'nnunetv2', 'segment_anything'} & set(sys.modules)))"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert f"usage: ser-nnunet benchmark {kind}" in output
    assert output.strip().endswith("IMPORTED []")


def test_validation_takes_a_fifth_of_the_iterations_and_at_least_one():
    def steps(**given):
        return AccuracySettings("1", ("nnUNetTrainer",), 1, **given).validation_steps

    assert [steps(), steps(iterations=3), steps(iterations=250, val_iterations=7)] == [50, 1, 7]


def test_all_bad_values_are_found_and_good_ones_pass():
    settings = AccuracySettings(
        "1", ("A", "B", "A"), 0, baselines=("C", "C"), folds=(2, 2), iterations=0, save_every=0, seeds=(1, -1, 1)
    )
    assert settings.find_problems() == [
        "--epochs must be at least 1, 0 given",
        "--iterations must be at least 1, 0 given",
        "--save-every must be at least 1, 0 given",
        "-tr: A named twice",
        "--baselines: C named twice",
        "-f: 2 named twice",
        "--seeds: 1 named twice",
        "--seeds must not be negative, -1 given",
    ]
    assert AccuracySettings("1", ("A", "B"), 1).find_problems() == []
    on_a_gpu = AccuracySettings("1", ("A",), 1, device="cuda", bfloat16=True)
    assert on_a_gpu.find_problems() == ["--bfloat16 is for the CPU; on cuda nnU-Net uses its own mixed precision"]
    assert AccuracySettings("1", ("A",), 1, device="cpu", bfloat16=True).find_problems() == []
    assert SpeedSettings(PlanSettings("1"), warmup=0).find_problems() == []


def test_nnunets_two_trainers_are_the_baselines_and_no_trainer_is_trained_twice():
    assert AccuracySettings("1", ("SERTrainer",), 1).all_trainers == (
        "nnUNetTrainer",
        "nnUNetTrainerAdam1en3",
        "SERTrainer",
    )
    named = AccuracySettings("1", ("A", "B"), 1, baselines=("B",))
    assert named.all_trainers == ("B", "A")
