"""What can be chosen about each benchmark: one frozen object per command, with `find_problems` for bad values.

Imports nothing slow: the command line takes its defaults from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ser_nnunet.errors import UserError

DEFAULT_PLANS = "nnUNetPlans"
BASELINES = ("nnUNetTrainer", "nnUNetTrainerAdam1en3")  # nnU-Net's U-Net by SGD and by AdamW
SAM_SIZES = ("ViT-B", "ViT-L", "ViT-H")
PROXY_PARTS = {"all": "", "encoder": "image_encoder", "decoder": "mask_decoder"}  # of a SAM, and the modules' names
OUTPUT = Path("benchmark")


@dataclass(frozen=True)
class HypotheticalDataset:
    """A data set that exists only as a shape: nnU-Net's planner needs no more than this.

    Attributes:
        shape: of every image after cropping, in nnU-Net's order of axes (slices, rows, columns).
        spacing: in mm, in the same order.
        channels, classes, cases: how many; the number of cases limits the batch of small data sets.
    """

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    channels: int = 1
    classes: int = 1
    cases: int = 100


@dataclass(frozen=True)
class PlanSettings:
    """Which plan is measured: that of a planned data set, a plans file, or what nnU-Net plans for a shape.

    Attributes:
        source: a data set's number or name, a plans file, or a data set that is yet to be planned.
        configuration: such as `2d`.
        plans_name: of a planned data set's plans.
        dataset_json: for a plans file; None takes the one beside it.
        volume: slices, rows, columns to predict; None takes the data set's median after resampling.
    """

    source: str | Path | HypotheticalDataset
    configuration: str = "2d"
    plans_name: str = DEFAULT_PLANS
    dataset_json: Path | None = None
    volume: tuple[int, int, int] | None = None


@dataclass(frozen=True)
class SizeSettings:
    """The choices of `benchmark size`.

    Attributes:
        plan: which plan is measured.
        output: the tables' folder.
        device: on which the memory of a forward pass is measured: `cpu`, `cuda` or `mps`.
        memory: whether to measure it.
        sam_memory: SAM pipelines whose memory is measured too, out of `SAM_SIZES`.
        training_memory: whether the memory of a training step is measured too, of networks with nnU-Net's patch.
    """

    plan: PlanSettings
    output: Path = OUTPUT
    device: str = "cpu"
    memory: bool = True
    sam_memory: tuple[str, ...] = ()
    training_memory: bool = False

    def find_problems(self) -> list[str]:
        """Return which SAMs are unknown, as a sentence."""
        unknown = ", ".join(sorted(set(self.sam_memory) - set(SAM_SIZES)))
        return [f"--sam-memory: {unknown} unknown; there are {', '.join(SAM_SIZES)}"] if unknown else []


@dataclass(frozen=True)
class SpeedSettings:
    """The choices of `benchmark speed`.

    Attributes:
        plan: which plan is measured.
        output: the tables' folder.
        device: `cpu`, `cuda` or `mps`.
        rounds: that are measured.
        warmup: rounds before them that are not.
        batch_size: of the training step; None takes the plan's.
        slices: 2D only: how many slices are predicted; None takes the whole volume.
        threads: of torch on the CPU; None takes all cores, and one beside a GPU.
        sam_checkpoint: adds a SAM-guided training step.
        sam_image_size: pixels at which SAM sees a slice in that step; None takes the checkpoint's own.
        sam_encoder: the SAM whose image encoder is timed, out of `SAM_SIZES`; None times none.
        sam_encoder_sizes: pixels at which it is timed, multiples of SAM's patch of 16.
    """

    plan: PlanSettings
    output: Path = OUTPUT
    device: str = "cpu"
    rounds: int = 10
    warmup: int = 2
    batch_size: int | None = None
    slices: int | None = None
    threads: int | None = None
    sam_checkpoint: Path | None = None
    sam_image_size: int | None = None
    sam_encoder: str | None = None
    sam_encoder_sizes: tuple[int, ...] = (1024,)

    def find_problems(self) -> list[str]:
        """Return what cannot be timed, in sentences."""
        counts = {"rounds": self.rounds, "batch-size": self.batch_size, "slices": self.slices, "threads": self.threads}
        problems = find_too_small(counts, 1) + find_too_small({"warmup": self.warmup}, 0)
        if self.sam_checkpoint and not self.sam_checkpoint.is_file():
            problems.append(f"--sam-checkpoint {self.sam_checkpoint}: no such file")
        sizes = list(self.sam_encoder_sizes)
        if any(size < 16 or size % 16 for size in sizes):
            problems.append(f"--sam-encoder-sizes: multiples of SAM's patch of 16 expected, {sizes} given")
        return problems


@dataclass(frozen=True)
class AccuracySettings:
    """The choices of `benchmark accuracy`.

    Attributes:
        dataset: number or name of a planned and preprocessed data set.
        trainers: SER's, a user's own or nnU-Net's, which are compared with the better baseline.
        epochs: for every trainer.
        output: folder of the runs and the tables.
        device: `cpu`, `cuda` or `mps`.
        configuration, plans_name: as in nnU-Net's commands.
        baselines: trainers among which the better one is chosen by its Dice.
        folds: every trainer is trained once per fold and seed.
        iterations: training steps per epoch.
        val_iterations: steps of nnU-Net's validation per epoch; None takes a fifth of `iterations`, at least 1.
        batch_size: in a copy of the plan; None keeps the plan's.
        seeds: of weights and sampling.
        train_cases: how many of each fold's training cases are used, drawn for every seed; None takes all.
        groups: file that names every case's patient; None looks for conversion.json.
        save_every: epochs between checkpoints.
        bfloat16: on the CPU, let every network compute in bfloat16 (autocast), as nnU-Net does in float16 on a GPU.
    """

    dataset: str
    trainers: tuple[str, ...]
    epochs: int
    output: Path = OUTPUT
    device: str = "cpu"
    configuration: str = "2d"
    baselines: tuple[str, ...] = BASELINES
    folds: tuple[int, ...] = (0,)
    plans_name: str = DEFAULT_PLANS
    iterations: int = 250
    val_iterations: int | None = None
    batch_size: int | None = None
    seeds: tuple[int, ...] = (0,)
    train_cases: int | None = None
    groups: Path | None = None
    save_every: int = 5
    bfloat16: bool = False

    @property
    def all_trainers(self) -> tuple[str, ...]:
        """Baselines and compared trainers, each once."""
        return tuple(dict.fromkeys([*self.baselines, *self.trainers]))

    @property
    def validation_steps(self) -> int:
        """Steps of nnU-Net's validation per epoch."""
        return self.val_iterations or max(1, self.iterations // 5)

    def find_problems(self) -> list[str]:
        """Return what is out of range or named twice, in sentences."""
        names = ("epochs", "iterations", "val_iterations", "batch_size", "save_every")
        problems = find_too_small({name.replace("_", "-"): getattr(self, name) for name in names}, 1)
        options = {"-tr": self.trainers, "--baselines": self.baselines, "-f": self.folds, "--seeds": self.seeds}
        for option, given in options.items():
            repeated = sorted({str(each) for each in given if given.count(each) > 1})
            problems += [f"{option}: {', '.join(repeated)} named twice"] if repeated else []
        if self.seeds and min(self.seeds) < 0:
            problems.append(f"--seeds must not be negative, {min(self.seeds)} given")
        if self.bfloat16 and self.device != "cpu":
            problems.append(f"--bfloat16 is for the CPU; on {self.device} nnU-Net uses its own mixed precision")
        return problems


@dataclass(frozen=True)
class ProxySamSettings:
    """The choices of `benchmark proxy-sam`.

    Attributes:
        datasets: numbers or names of planned and preprocessed data sets.
        output: folder of the checkpoint, its history and its provenance.
        device: `cpu`, `cuda` or `mps`.
        fold: its validation cases are left out.
        plans_name: of every data set's plans.
        steps: of training, 16 prompts each.
        image_size: pixels, a multiple of 16 from 64 on; None is the checkpoint's own, or 256.
        seed: of weights, images and prompts.
        labels: whether the classes of the training cases are regions to segment, too; otherwise labels are never read.
        unlabelled: training cases whose labels are not read all the same: those that a student will get.
        checkpoint: a SAM of any size, or a proxy, to continue from; None begins anew.
        part: which of `PROXY_PARTS` is trained; the rest stays as it is in the checkpoint.
    """

    datasets: tuple[str, ...]
    output: Path = OUTPUT
    device: str = "cpu"
    fold: int = 0
    plans_name: str = DEFAULT_PLANS
    steps: int = 1500
    image_size: int | None = None
    seed: int = 0
    labels: bool = False
    unlabelled: tuple[str, ...] = ()
    checkpoint: Path | None = None
    part: str = "all"

    def find_problems(self) -> list[str]:
        """Return what is out of range, in sentences."""
        problems = find_too_small({"steps": self.steps}, 1)
        if self.unlabelled and not self.labels:
            problems.append("--unlabelled names cases whose labels --labels shall not read; --labels is missing")
        if self.image_size is not None and (self.image_size < 64 or self.image_size % 16):
            problems.append(f"--image-size must be a multiple of 16 from 64 on, {self.image_size} given")
        if self.part != "all" and self.checkpoint is None:
            problems.append(
                f"--train {self.part} leaves the rest as it is in a trained model, but --checkpoint is missing"
            )
        return problems


def find_too_small(values: dict[str, int | None], least: int) -> list[str]:
    """Return a sentence for every option whose value is below `least`; None is an option that wasn't given."""
    return [
        f"--{name} must be at least {least}, {value} given"
        for name, value in values.items()
        if value is not None and value < least
    ]


def refuse_problems(problems: list[str]) -> None:
    """Raise `UserError` with all problems, if there are any."""
    if problems:
        raise UserError("this benchmark can't start:\n" + "\n".join(f"  {problem}" for problem in problems))
