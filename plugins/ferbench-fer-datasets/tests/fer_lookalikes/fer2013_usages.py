"""FER2013 as folders named after the column Usage, with numbers in front of the names of classes."""

from pathlib import Path

from fer_lookalikes.expected import Expected, write_image
from fer_lookalikes.fer2013_folders import CLASSES

SPLITS = {"Training": "train", "PublicTest": "validation", "PrivateTest": "test"}


def build(root: Path) -> dict[str, list[Expected]]:
    samples = []
    for usage, split in SPLITS.items():
        for number, (folder, label) in enumerate(CLASSES.items()):
            for name in ("00001.png", "00002.png"):
                path = f"{usage}/{number}_{folder}/{name}"
                write_image(root / "fer" / path, 6 * len(samples), "PNG")
                samples.append(Expected(path, split, label, 6 * len(samples)))
    return {"fer2013-folders": samples}
