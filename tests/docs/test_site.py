"""The documentation site: built without a warning, without network, and loading nothing from other servers."""

import os
import re
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY

pytest.importorskip("mkdocs", reason="pip install 'ser-nnunet[docs]'")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    offline = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(folder)],
        cwd=REPOSITORY,
        env={**os.environ, **offline, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_pages_load_nothing_from_other_servers(site):
    loading = re.compile(r'(?:<(?:script|img|iframe)[^>]*src|<link[^>]*href)="?(https?:[^"\s>]+)')
    for page in site.rglob("*.html"):
        assert loading.findall(page.read_text(encoding="utf-8")) == [], page
    for sheet in site.rglob("*.css"):
        assert re.findall(r"(?:@import|url\()\s*[\"']?https?:[^)]*", sheet.read_text(encoding="utf-8")) == [], sheet


def test_home_is_the_readme_with_its_pictures(site):
    home = (site / "index.html").read_text(encoding="utf-8")
    assert "Research use only" in home
    pictures = re.findall(r'<img[^>]*src="([^"]+)"', home)
    assert pictures and all((site / picture).is_file() for picture in pictures)


@pytest.mark.parametrize(
    ("page", "name"),
    [
        ("runtime", "ser_nnunet.runtime.model.Model.predict"),
        ("export", "ser_nnunet.export.exporter.export_model"),
        ("network", "ser_nnunet.network.ser_net.SERNet"),
        ("sam", "ser_nnunet.sam.guide.SAMGuide"),
        ("training", "ser_nnunet.training.trainer.SERTrainer"),
        ("dataset_conversion", "ser_nnunet.dataset_conversion.convert"),
        ("evaluation", "ser_nnunet.evaluation.evaluate"),
        ("nnunet", "ser_nnunet.nnunet.trainers.find_trainer"),
        ("utils", "ser_nnunet.utils.geometry.Grid"),
        ("errors", "ser_nnunet.errors.UserError"),
        ("network", "ser_nnunet.network.encoder.ENCODERS"),
        ("dataset_conversion", "ser_nnunet.dataset_conversion.registry.CONVERTERS"),
        ("dataset_conversion", "ser_nnunet.dataset_conversion.core.data_classes.ConversionReport.cases"),
    ],
)
def test_the_api_reference_has_every_package(site, page, name):
    assert f'id="{name}"' in (site / "api" / f"{page}.html").read_text(encoding="utf-8")
