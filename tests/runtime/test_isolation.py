"""The runtime needs neither torch nor nnU-Net nor the rest of the package, and says what it does need."""

import subprocess
import sys

import pytest

from ser_nnunet.errors import UserError
from ser_nnunet.export.model_writer import runtime_sources
from ser_nnunet.runtime import requirements
from tests.structure import modules

RUNTIME = sorted(name for name in modules() if name.startswith("ser_nnunet.runtime"))
SHIPPED = sorted(name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in runtime_sources())
BLOCK = (
    f"SHIPPED = {SHIPPED}"
    + """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        own = name.startswith("ser_nnunet.") and name not in SHIPPED
        foreign = {"torch", "nnunetv2", "skimage", "monai", "pandas", "nibabel", "batchgenerators", "scipy"}
        if own or name.split(".")[0] in foreign:
            raise ModuleNotFoundError(f"blocked: {name}", name=name)

sys.meta_path.insert(0, Blocked())
"""
)


def test_every_module_is_imported_with_torch_nnunet_and_the_rest_of_the_package_blocked():
    code = BLOCK + "\n".join(f"import {name}" for name in RUNTIME) + "\nprint('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "False"), done.stderr


def test_the_block_works():
    code = BLOCK + "import ser_nnunet.nnunet.plans"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and "blocked: ser_nnunet.nnunet" in done.stderr


def test_missing_requirements_are_named_with_the_line_that_installs_them(monkeypatch):
    monkeypatch.setattr(requirements, "find_spec", lambda name: object() if name == "numpy" else None)
    with pytest.raises(UserError, match="pip install SimpleITK onnxruntime") as caught:
        requirements.check_requirements()
    for alternative in ("openvino will do instead of onnxruntime", "nibabel will do instead of SimpleITK for NIfTI"):
        assert alternative in str(caught.value)


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_either_engine_and_the_smaller_reader_will_do(monkeypatch, engine):
    there = {"numpy", "nibabel", engine}
    monkeypatch.setattr(requirements, "find_spec", lambda name: object() if name in there else None)
    requirements.check_requirements()
    assert requirements.available_engines() == (engine,) and requirements.available_readers() == ("nibabel",)
