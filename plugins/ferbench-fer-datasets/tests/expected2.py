"""What look-alikes of data sets share: samples as rows that can be compared, and tiny images."""

import zlib
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from ferbench.contract.dataset import Damage, Dataset, Sample


class Expected(NamedTuple):
    """A sample without its image."""

    id: str
    split: str
    label: str | None = None
    subject: str | None = None
    video: str | None = None
    box: tuple[float, float, float, float] | None = None


def read(dataset: Dataset) -> tuple[list[Expected], list[Damage]]:
    """All that a reader yields."""
    found = list(dataset.samples())
    samples = [Expected(s.id, s.split, s.label, s.subject, s.video, s.box) for s in found if isinstance(s, Sample)]
    return samples, [damage for damage in found if isinstance(damage, Damage)]


def write_image(path: Path, mode: str = "RGB", size: tuple[int, int] = (12, 10)) -> None:
    """An image of one colour, which its name gives."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shade = zlib.crc32(path.name.encode()) % 256
    Image.new(mode, size, shade if mode == "L" else (shade, 90, 120)).save(path)


def write_text(path: Path, text: str = "") -> None:
    """A file of UTF-8, line ends as they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
