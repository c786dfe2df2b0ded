"""Labeled Faces in the Wild: a folder for each person, beside lists of pairs."""

from pathlib import Path

from fer_lookalikes.expected import Expected, shade_of, write, write_image


def build(root: Path) -> dict[str, list[Expected]]:
    """Three images of two people."""
    names = [
        "Aaron_Eckhart/Aaron_Eckhart_0001.jpg",
        "Zach_Pillet/Zach_Pillet_0001.jpg",
        "Zach_Pillet/Zach_Pillet_0002.jpg",
    ]
    for name in names:
        write_image(root / "lfw" / name)
    write(root / "pairs.txt", "10\t300\nAaron_Eckhart\t1\tZach_Pillet\t1\n")
    return {"lfw": [Expected(name, "unlabeled", None, shade_of(name)) for name in names]}
