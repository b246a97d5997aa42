"""A small exported model, shared by the tests of export and prediction."""

import pytest

from ser_nnunet.export.exporter import export_model
from tests.export.model_folders import unet, write_model_folder
from tests.export.prediction_cases import write_case
from tests.runtime.toy import plan


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    """Two channels, two folds, thick slices that are resampled in plane."""
    planned = plan(
        (16, 12), (1.2, 1.2), schemes=("ZScoreNormalization",) * 2, masks=(True, False), architecture=unet(2, 2, 4)
    )
    folder = write_model_folder(tmp_path_factory.mktemp("model") / "Trainer__Plans__2d", planned, folds=(0, 1))
    (folder / "dataset_fingerprint.json").write_text('{"spacings": [[3, 1, 1], [4, 1, 1.2]]}')
    return folder


@pytest.fixture(scope="session")
def model_file(model_folder, tmp_path_factory):
    return export_model(model_folder, tmp_path_factory.mktemp("exported") / "model.pyz").path


@pytest.fixture
def images(tmp_path):
    write_case(tmp_path / "in", "first", 1)
    write_case(tmp_path / "in", "second", 2, ending=".mha")
    return tmp_path / "in"
