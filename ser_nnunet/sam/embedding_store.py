"""SAM's image embeddings of whole slices of preprocessed cases, computed once and kept on disk in float16."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout

from ser_nnunet.sam.guide import SAMGuide
from ser_nnunet.utils.files import read_json, replacing, write_json
from ser_nnunet.utils.hashing import file_sha256, text_sha256
from ser_nnunet.utils.locks import WITHOUT_LOCKS


@dataclass(frozen=True)
class EmbeddingStore:
    """A folder of embeddings: `CASE.npy` `(slices, 256, grid, grid)` and `CASE.json`, which names the slices.

    Attributes:
        folder: of one SAM, image size and choice of channels; see `find_store`.
    """

    folder: Path

    def slices(self, case: str, image: Path) -> list[int]:
        """Return the slices of a case that are kept, if they are those of this preprocessed image; else none.

        Of files that can't be read whole, after a full disk or an incomplete copy, nothing is kept.
        """
        try:
            content = read_json(self.folder / f"{case}.json")
            positions = [int(position) for position in content["slices"]]
            kept = np.load(self.folder / f"{case}.npy", mmap_mode="r")
        except (OSError, EOFError, ValueError, KeyError, TypeError):  # of them, JSON's and NumPy's are ValueErrors
            return []
        return positions if content.get("image") == describe_file(image) and len(kept) == len(positions) else []

    def load(self, case: str, number: int) -> torch.Tensor:
        """Return the embedding `(256, grid, grid)`, float16, of a case's `number`th kept slice."""
        return torch.from_numpy(np.load(self.folder / f"{case}.npy", mmap_mode="r")[number].copy())

    @contextmanager
    def claim(self, case: str, wait: bool) -> Iterator[bool]:
        """Yield whether a case is this process's to embed: several folds, and the processes of DDP, share the work.

        Args:
            case: its name.
            wait: until no other process embeds it; look at `slices` again then.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / f".{case}.lock"
        lock = FileLock(file)
        try:
            lock.acquire(timeout=-1 if wait else 0)
            claimed = True
        except Timeout:
            claimed = False
        except (NotImplementedError, OSError) as error:
            if isinstance(error, OSError) and error.errno not in WITHOUT_LOCKS:
                raise
            claimed = True  # a file system without locks: the work may be done twice
        try:
            yield claimed
        finally:
            if lock.is_locked:
                lock.release()
                with suppress(OSError):  # on Windows, where another process waits for it
                    file.unlink()

    def save(self, case: str, slices: Sequence[int], embeddings: torch.Tensor, image: Path) -> None:
        """Keep embeddings `(slices, 256, grid, grid)`, whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / f"{case}.json").unlink(missing_ok=True)  # of another image; it names what is in CASE.npy
        with replacing(self.folder / f"{case}.npy") as unfinished, unfinished.open("wb") as stream:
            np.save(stream, embeddings.to("cpu", torch.float16).numpy())
        write_json(self.folder / f"{case}.json", {"slices": list(slices), "image": describe_file(image)})


def describe_file(image: Path) -> dict[str, Any]:
    """Return size and time of a preprocessed image, which differ once it is preprocessed again."""
    status = image.stat()
    return {"bytes": status.st_size, "changed": status.st_mtime_ns}


def find_store(
    cases_folder: Path,
    checkpoint: str,
    image_size: int,
    channels: Sequence[int],
    masked_channels: Sequence[int],
    per_case: int,
) -> EmbeddingStore:
    """Return where embeddings of a configuration's preprocessed cases are kept, beside them.

    The folder's name is a hash of everything that they and their choice depend on, apart from the images, so that no
    training replaces what another one is using.

    Args:
        cases_folder: such as nnUNet_preprocessed/Dataset501_X/nnUNetPlans_2d.
        checkpoint: SAM's.
        image_size: edge in pixels of SAM's input.
        channels: that SAM sees.
        masked_channels: see `to_rgb`.
        per_case: slices of a case at most.
    """
    seen = f"{file_sha256(checkpoint)} {image_size} {tuple(channels)} {tuple(masked_channels)} {per_case}"
    return EmbeddingStore(cases_folder.with_name(f"{cases_folder.name}_sam") / text_sha256(seen)[:16])


def embed_slices(
    guide: SAMGuide,
    volume: Any,
    slices: Sequence[int],
    channels: Sequence[int],
    masked_channels: Sequence[int],
    device: torch.device,
) -> torch.Tensor:
    """Return SAM's embeddings `(slices, 256, grid, grid)` of slices of a preprocessed volume `(C, D, H, W)`."""
    found = []
    for position in slices:
        image = torch.from_numpy(np.asarray(volume[:, position], np.float32))[None].to(device)
        found.append(guide.encode(image, channels, masked_channels).to("cpu", torch.float16))
    return torch.cat(found)
