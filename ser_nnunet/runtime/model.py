"""A trained model: images in, masks out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np

from ser_nnunet.errors import UserError
from ser_nnunet.runtime.decoding import decode
from ser_nnunet.runtime.engine import Network, load_network
from ser_nnunet.runtime.input_checks import check_scan
from ser_nnunet.runtime.model_file import ModelFile, open_model
from ser_nnunet.runtime.preprocessing import preprocess, restore
from ser_nnunet.runtime.recipe import Recipe
from ser_nnunet.runtime.resampling import resample
from ser_nnunet.runtime.scan import Scan
from ser_nnunet.runtime.sliding_window import SlidingWindow, batch_size

if TYPE_CHECKING:
    import SimpleITK as sitk

KEPT_BYTES = 200 << 20
"""ONNX files of an ensemble that are kept loaded together; larger ones are loaded again for every case."""


class Model:
    """A model file, ready to predict.

    Args:
        file: an opened model file.
        threads: CPU threads of the network; every core by default.
        engine: `openvino` or `onnxruntime`; the first that is installed by default.
        mirror: predict every tile mirrored along the allowed axes, too, and take the mean (nnU-Net's default).
        step: distance of neighbouring tiles, in tiles, in (0, 1]; nnU-Net's default is 0.5.
        device: `cpu`, `cuda` or `gpu` (see `engine.DEVICES`).

    Raises:
        UserError: a step outside of (0, 1].
    """

    def __init__(
        self,
        file: ModelFile,
        *,
        threads: int | None = None,
        engine: str | None = None,
        mirror: bool = True,
        step: float = 0.5,
        device: str = "cpu",
    ) -> None:
        if not 0 < step <= 1:
            raise UserError(f"step {step:g}: expected a part of a tile above 0 and at most 1")
        self.file, self.step = file, step
        self.recipe: Recipe = file.recipe
        self.mirror_axes = self.recipe.mirror_axes if mirror else ()
        self._threads, self._engine, self._device = threads, engine, device
        self._loaded: dict[str, Network] = {}

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        threads: int | None = None,
        engine: str | None = None,
        mirror: bool = True,
        step: float = 0.5,
        device: str = "cpu",
    ) -> Model:
        """Open a file that `ser-nnunet export` wrote; the arguments are those of the class.

        Raises:
            UserError: no model file, or one whose parts were changed.
        """
        return cls(open_model(Path(path)), threads=threads, engine=engine, mirror=mirror, step=step, device=device)

    @overload
    def predict(self, images: np.ndarray, spacing: Sequence[float]) -> np.ndarray: ...

    @overload
    def predict(self, images: Sequence[sitk.Image], spacing: None = None) -> sitk.Image: ...

    def predict(
        self, images: np.ndarray | Sequence[sitk.Image], spacing: Sequence[float] | None = None
    ) -> np.ndarray | sitk.Image:
        """Return the mask of one case: labels as in the training's dataset.json.

        Args:
            images: an array `(C, z, y, x)`, or one SimpleITK image per channel; in the order of `recipe.channels`.
            spacing: of an array, in mm along `(z, y, x)`.

        Raises:
            UserError: what the model can't predict: number of channels, dimension, grids that differ, NaN, no content.
        """
        if isinstance(images, np.ndarray):
            if images.ndim != 4 or spacing is None or len(spacing) != 3:
                raise UserError(
                    f"an array (C, z, y, x) and its spacing (mm along z, y, x) expected, found shape {images.shape} "
                    f"and spacing {spacing}"
                )
            return self.segment(Scan(images.astype(np.float32), tuple(map(float, spacing))))
        from ser_nnunet.runtime.image_io import mask_image, scan_from_images  # needs SimpleITK, which arrays do not

        scan = scan_from_images(images, [f"channel {index}" for index in range(len(images))], self.recipe)
        assert scan.grid is not None
        return mask_image(self.segment(scan), scan.grid)

    def segment(self, scan: Scan, progress: Callable[[float], None] = lambda done: None) -> np.ndarray:
        """Return the mask `(z, y, x)`, uint8 (uint16 for labels from 255), of a scan that was read.

        Args:
            scan: see `Scan`.
            progress: called with the finished part of the tiles, up to 1.
        """
        recipe = self.recipe
        check_scan(scan, recipe)
        case = preprocess(scan, recipe)
        window = SlidingWindow(case.voxels, recipe.patch_size, recipe.heads, self.step, self.mirror_axes)
        total, done = len(window.tiles) * len(self.file.networks), 0

        def count(tiles: int) -> None:
            nonlocal done
            done += tiles
            progress(done / total)

        for name in self.file.networks:
            window.add(self._network(name), count)
        logits = window.logits()
        rule = recipe.resampling_logits
        labels = decode(
            logits, recipe, lambda each: resample(each, case.cropped_shape, case.target, case.spacing, rule)
        )
        return restore(labels, case, recipe)

    def preload(self) -> None:
        """Load the first network, which `segment` does otherwise."""
        self._network(self.file.networks[0])

    def _network(self, name: str) -> Network:
        if name not in self._loaded:
            onnx = self.file.read(name)
            if len(onnx) * len(self.file.networks) > KEPT_BYTES:
                self._loaded.clear()
            size = batch_size(self.recipe.patch_size)
            self._loaded[name] = load_network(onnx, size, self._threads, self._engine, self._device)
        return self._loaded[name]
