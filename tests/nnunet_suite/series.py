"""A trainer on one data set, through nnU-Net's commands: from training to postprocessing, with checks of each step."""

from __future__ import annotations

import json
import math
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from tests.nnunet_suite import checks
from tests.nnunet_suite.kinds import KINDS, Kind
from tests.nnunet_suite.matrix import Matrix, Row
from tests.nnunet_suite.short_trainers import EPOCHS, GUIDED
from tests.nnunet_workplace import Workplace, trained_epochs

CONFIGURATIONS = ("2d", "3d_fullres", "3d_lowres", "3d_cascade_fullres")
"""In an order in which the cascade's first stage has been trained before the second."""
PREVIOUS_STAGE = {"3d_cascade_fullres": "3d_lowres"}
NEXT_STAGE = {"3d_lowres": "3d_cascade_fullres"}


@dataclass
class Series:
    """Configurations of one data set, trained by one trainer.

    Attributes:
        name: of the data set, in `KINDS`.
        folds: nnU-Net's names of them, numbers or `all`.
        complete: whether they are a whole cross-validation, which the choice of the best configuration needs.
    """

    workplace: Workplace
    matrix: Matrix
    name: str
    trainer: str
    configurations: Sequence[str]
    folds: Sequence[str]
    complete: bool

    def run(self) -> None:
        """Run all steps in the order in which a user runs them."""
        for configuration in self.configurations:
            row, attempt = self.row(configuration), self.matrix.attempt
            previous = [(self.row(PREVIOUS_STAGE[configuration]), "trained")] if configuration in PREVIOUS_STAGE else []
            attempt("resumed", [row], partial(self.resume, configuration), previous)
            needs = [(row, "resumed"), *previous]
            attempt("trained", [row], partial(self.train, configuration), needs)
            attempt("validated", [row], partial(self.validate_again, configuration), [(row, "trained")])
            needs = [(row, "trained"), *((stage, "predicted") for stage, _ in previous)]
            attempt("predicted", [row], partial(self.predict, configuration), needs)
            if configuration != "2d" and "2d" in self.configurations:
                needs = [(self.row("2d"), "predicted"), (row, "predicted")]
                attempt("ensembled", [row], partial(self.ensemble, "2d", configuration), needs)
        if self.complete:
            rows = [self.row(configuration) for configuration in self.configurations]
            attempt("best", rows, self.find_best, [(row, "trained") for row in rows])
            attempt("postprocessed", rows, self.follow_instructions, [(row, "best") for row in rows])

    def row(self, configuration: str) -> Row:
        return Row(self.name, self.trainer, configuration)

    @property
    def kind(self) -> Kind:
        return KINDS[self.name]

    @property
    def training_cases(self) -> dict[str, Path]:
        """Case -> labels."""
        folder = self.workplace.dataset("raw", self.kind.number) / "labelsTr"
        return {file.name.removesuffix(".nii.gz"): file for file in sorted(folder.glob("*.nii.gz"))}

    @property
    def test_cases(self) -> dict[str, Path]:
        """Case -> image."""
        folder = self.workplace.dataset("raw", self.kind.number) / "imagesTs"
        return {file.name.removesuffix("_0000.nii.gz"): file for file in sorted(folder.glob("*.nii.gz"))}

    def validation_cases(self, fold: str) -> dict[str, Path]:
        if fold == "all":
            return self.training_cases
        splits = self.workplace.dataset("preprocessed", self.kind.number) / "splits_final.json"
        return {case: self.training_cases[case] for case in json.loads(splits.read_text())[int(fold)]["val"]}

    def model(self, configuration: str) -> Path:
        return self.workplace.model(self.kind.number, self.trainer, configuration)

    def output(self, *parts: str) -> Path:
        return Path(self.workplace.folder, "predictions", self.name, self.trainer, *parts)

    def training(self, configuration: str, fold: str) -> tuple[object, ...]:
        """Return nnU-Net's command that trains a fold and exports probabilities for ensembles."""
        number = self.kind.number
        return ("nnUNetv2_train", number, configuration, fold, "-tr", self.trainer, "-device", "cpu", "--npz")

    def resume(self, configuration: str) -> None:
        """Kill the first fold's training in its last epoch, and continue it."""
        command = self.training(configuration, self.folds[0])
        self.workplace.kill_in_epoch(EPOCHS - 1, *command)
        epochs = trained_epochs(self.workplace.run(*command, "--c"))
        checks.require(epochs == [EPOCHS - 1], f"killed in epoch {EPOCHS - 1}, --c trained the epochs {epochs}")

    def train(self, configuration: str) -> None:
        """Train the folds that have not been trained, and check all."""
        for fold in self.folds:
            if not (self.fold_folder(configuration, fold) / "checkpoint_final.pth").is_file():
                self.workplace.run(*self.training(configuration, fold))
            self.check_fold(configuration, fold)

    def fold_folder(self, configuration: str, fold: str) -> Path:
        return self.model(configuration) / f"fold_{fold}"

    def check_fold(self, configuration: str, fold: str) -> None:
        """Check checkpoint, validation and, in the cascade's first stage, what the second is trained with."""
        folder, cases = self.fold_folder(configuration, fold), self.validation_cases(fold)
        log = torch.load(folder / "checkpoint_final.pth", weights_only=True)["logging"]
        checks.require(len(log["train_losses"]) == EPOCHS, f"{folder}: the log has {len(log['train_losses'])} epochs")
        guided = [not math.isnan(dice) for dice in log["guided_dice"]]
        expected = [self.trainer == GUIDED and epoch < EPOCHS / 2 for epoch in range(EPOCHS)]
        checks.require(guided == expected, f"{folder}: SAM guided the epochs {guided}, expected {expected}")
        checks.check_segmentations(folder / "validation", cases, self.kind.values, probabilities=True)
        checks.check_summary(folder / "validation/summary.json", cases, self.kind.classes)
        if NEXT_STAGE.get(configuration) in self.configurations:
            missing = [case for case in cases if not list(self.next_stage(configuration).glob(f"{case}.*"))]
            checks.require(not missing, f"nothing for the cascade's second stage: {missing}")

    def next_stage(self, configuration: str) -> Path:
        return self.model(configuration) / "predicted_next_stage" / NEXT_STAGE[configuration]

    def validate_again(self, configuration: str) -> None:
        """Delete the first fold's validation, and let nnU-Net validate the checkpoint again."""
        fold = self.folds[0]
        validation = self.fold_folder(configuration, fold) / "validation"
        before = checks.read_segmentations(validation)
        shutil.rmtree(validation)
        if NEXT_STAGE.get(configuration) in self.configurations:
            for case in self.validation_cases(fold):
                for file in self.next_stage(configuration).glob(f"{case}.*"):
                    file.unlink()
        self.workplace.run(*self.training(configuration, fold), "--val")
        self.check_fold(configuration, fold)
        checks.check_same(before, checks.read_segmentations(validation))

    def previous_stage(self, configuration: str) -> tuple[object, ...]:
        """Return the option that names the first stage's predictions, which nnU-Net needs for the cascade's second."""
        if configuration not in PREVIOUS_STAGE:
            return ()
        return ("-prev_stage_predictions", self.output(PREVIOUS_STAGE[configuration]))

    def predict(self, configuration: str) -> None:
        """Predict the test images with all folds, in worker processes."""
        images = self.workplace.dataset("raw", self.kind.number) / "imagesTs"
        folders = ("-i", images, "-o", self.output(configuration))
        model = ("-d", self.kind.number, "-tr", self.trainer, "-c", configuration, "-f", *self.folds)
        settings = ("--save_probabilities", "-device", "cpu", "-npp", 1, "-nps", 1)
        self.workplace.run("nnUNetv2_predict", *folders, *model, *settings, *self.previous_stage(configuration))
        folder = self.output(configuration)
        occurring = checks.check_segmentations(folder, self.test_cases, self.kind.values, probabilities=True)
        checks.require(occurring - {0}, f"{folder} has no foreground, so that its values can't be checked")

    def ensemble(self, *configurations: str) -> None:
        """Average the probabilities of two configurations' predictions."""
        folders, output = map(self.output, configurations), self.output("_".join(configurations))
        self.workplace.run("nnUNetv2_ensemble", "-i", *folders, "-o", output, "-np", 1)
        checks.check_segmentations(output, self.test_cases, self.kind.values)

    def find_best(self) -> None:
        """Let nnU-Net compare all configurations and the ensembles of two."""
        selection = ("-c", *self.configurations, "-tr", self.trainer, "-f", *self.folds, "-np", 1)
        self.workplace.run("nnUNetv2_find_best_configuration", self.kind.number, *selection)
        models = [self.model(configuration).name for configuration in self.configurations]
        results = self.workplace.dataset("results", self.kind.number)
        checks.check_best(json.loads((results / "inference_information.json").read_text()), models, self.configurations)
        compared = [results / model / f"crossval_results_folds_{'_'.join(self.folds)}" for model in models]
        for folder in [*compared, *(results / "ensembles").iterdir()]:
            checks.check_summary(folder / "summary.json", self.training_cases, self.kind.classes)

    def follow_instructions(self) -> None:
        """Run the commands that nnU-Net prints for its choice: prediction, ensemble, postprocessing."""
        results = self.workplace.dataset("results", self.kind.number)
        images = self.workplace.dataset("raw", self.kind.number) / "imagesTs"
        for line in (results / "inference_instructions.txt").read_text().splitlines():
            if line.startswith("nnUNetv2_"):
                words = [
                    str(self.output(word)) if word.startswith("OUTPUT_FOLDER") else word for word in shlex.split(line)
                ]
                words = [str(images) if word == "INPUT_FOLDER" else word for word in words]
                if words[0] == "nnUNetv2_predict":
                    # nnU-Net 2.8's instructions leave the cascade's first stage out
                    previous = self.previous_stage(words[words.index("-c") + 1])
                    words += ["-device", "cpu", "-npp", "0", "-nps", "0", *map(str, previous)]
                self.workplace.run(*words)
        checks.check_segmentations(self.output("OUTPUT_FOLDER_PP"), self.test_cases, self.kind.values)
