"""CASIA-WebFace: a folder for each person."""

from pathlib import Path

from ferbench_fer_datasets.face_pools import CasiaWebFace

from .expected2 import Expected, write_image, write_text

READER = CasiaWebFace


def build(root: Path) -> list[Expected]:
    """Two images of each of two people."""
    names = [f"{person}/{number:03d}.jpg" for person in ("0000045", "0000099") for number in (1, 2)]
    for name in names:
        write_image(root / "CASIA-WebFace" / name)
    write_text(root / "CASIA-WebFace" / "0000045" / "._001.jpg", "of another system")
    return [Expected(name, "unlabeled") for name in names]
