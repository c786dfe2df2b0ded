"""Labeled Faces in the Wild: a folder for each person, beside lists of pairs."""

from pathlib import Path

from ferbench_fer_datasets.face_pools import Lfw

from .expected2 import Expected, write_image, write_text

READER = Lfw


def build(root: Path) -> list[Expected]:
    """Three images of two people."""
    names = [
        "Aaron_Eckhart/Aaron_Eckhart_0001.jpg",
        "Zach_Pillet/Zach_Pillet_0001.jpg",
        "Zach_Pillet/Zach_Pillet_0002.jpg",
    ]
    for name in names:
        write_image(root / "lfw" / name)
    write_text(root / "pairs.txt", "10\t300\nAaron_Eckhart\t1\tZach_Pillet\t1\n")
    return [Expected(name, "unlabeled") for name in names]
