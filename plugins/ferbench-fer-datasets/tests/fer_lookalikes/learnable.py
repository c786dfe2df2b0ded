"""Images that show their class, so that a net can be trained on them, and copies that are made of these."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from fer_lookalikes.expected import write
from fer_lookalikes.raf_db import LIST

SIZE = 16


def face(label: int, number: int, size: int = SIZE) -> Image.Image:
    """An image whose class is where it is bright."""
    pixels = np.random.default_rng([label, number]).integers(0, 60, (size, size), dtype=np.uint8)
    bar = size // 8
    pixels[label * bar : (label + 1) * bar] += 160
    return Image.fromarray(pixels)


def jpeg(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG")
    return file.getvalue()


def write_raf_db(root: Path, *, train: int, test: int) -> None:
    """RAF-DB as published, with so many images of each class."""
    lines = []
    for split, n in (("train", train), ("test", test)):
        for number in range(7 * n):
            name = f"{split}_{number + 1:05d}"
            lines.append(f"{name}.jpg {number % 7 + 1}")
            write(root / f"basic/Image/aligned/{name}_aligned.jpg", jpeg(face(number % 7, number + 1000 * n)))
    write(root / "basic/EmoLabel" / Path(LIST).name, "\n".join(lines))
