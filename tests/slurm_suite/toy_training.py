"""`python toy_training.py FOLDER EPOCHS SECONDS SAVE_EVERY`: leaves what a training leaves, and only sleeps.

Log, files and resumption as nnU-Net's, checkpoints written as SER's trainers write them; no torch.
"""

import json
import os
import sys
import time
import zipfile
from pathlib import Path


def save(file: Path, epoch: int) -> None:
    unfinished = file.with_name(f".unfinished_{file.name}")
    with zipfile.ZipFile(unfinished, "w") as archive:
        archive.writestr("epoch", str(epoch))
    unfinished.replace(file)


def main(folder: Path, epochs: int, seconds: float, save_every: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "debug.json").write_text(json.dumps({"num_epochs": str(epochs)}))
    latest, first = folder / "checkpoint_latest.pth", 0
    if latest.exists():
        with zipfile.ZipFile(latest) as archive:
            first = int(archive.read("epoch"))
    now = time.localtime()
    name = "_".join(str(part) for part in now[:6])
    with (folder / f"training_log_{name}.txt").open("a", buffering=1) as log:

        def write(*words: object) -> None:
            print(f"{time.strftime('%Y-%m-%d %H:%M:%S')}.0: {' '.join(map(str, words))} ", file=log)

        for epoch in range(first, epochs):
            write("Epoch", epoch)
            time.sleep(seconds)
            write("train_loss", -epoch / epochs)
            write("val_loss", -epoch / epochs)
            write("Pseudo dice", [epoch / epochs])
            write("Epoch time:", seconds, "s")
            if (epoch + 1) % save_every == 0:
                save(latest, epoch + 1)
    save(folder / "checkpoint_final.pth", epochs)
    (folder / "validation").mkdir(exist_ok=True)
    (folder / "validation" / "summary.json").write_text(json.dumps({"foreground_mean": {"Dice": 0.5}}))


if __name__ == "__main__":
    print(f"process {os.getpid()}", flush=True)
    main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))
