"""JAFFE: TIFF files in one folder, whose names have three dots."""

from pathlib import Path

from ferbench_fer_datasets.jaffe import Jaffe

from .expected2 import Expected, write_image, write_text

READER = Jaffe
CODES = {
    "AN": "anger",
    "DI": "disgust",
    "FE": "fear",
    "HA": "happiness",
    "NE": "neutral",
    "SA": "sadness",
    "SU": "surprise",
}


def build(root: Path) -> list[Expected]:
    """Two images of each expression of two people."""
    expected = []
    for first, subject in ((39, "KA"), (187, "YM")):
        for number, (code, label) in enumerate(CODES.items()):
            for repetition in (1, 2):
                stem = f"{subject}.{code}{repetition}.{first + 2 * number + repetition}"
                write_image(root / "jaffe" / f"{stem}.tiff", "L")
                expected.append(Expected(stem, "train", label, subject))
    write_text(root / "jaffe" / "README_FIRST.txt", "about the images")
    write_text(root / "jaffe" / ".DS_Store")
    return sorted(expected)
