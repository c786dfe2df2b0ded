"""A tiny learnable dataset, made in milliseconds: each class is a bright bar of its own height or colour."""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
from PIL import Image, ImageDraw

from ferbench.contract.dataset import EIGHT_CLASSES

CLASSES = EIGHT_CLASSES[:3]
COUNTS = {"neutral": 60, "happiness": 40, "sadness": 20}
COLOURS = ((220, 200, 40), (40, 220, 200), (200, 40, 220))


def bar_image(kind: int, rng: np.random.Generator, size: int = 16) -> Image.Image:
    """A noisy image with the bar of a class."""
    noise = rng.integers(0, 60, (size, size, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    colour, place = divmod(kind, len(CLASSES))
    height = size * (place + 1) / (len(CLASSES) + 1) + rng.normal(0, size / 20)
    left = rng.uniform(0, size / 3)
    ImageDraw.Draw(image).line([(left, height), (left + size / 2, height)], fill=COLOURS[colour], width=2)
    return image


def encoded(image: Image.Image) -> bytes:
    """The image as PNG."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def write_pattern_set(
    folder: Path,
    *,
    name: str = "patterns",
    counts: Mapping[str, int] | None = None,
    n_test: int = 30,
    size: int = 16,
    seed: int = 0,
    subjects: int = 7,
    classes: Sequence[str] = CLASSES,
    damage: Mapping[str, bytes] | None = None,
) -> Path:
    """A folder that `--dataset` accepts, with no test split for `n_test=0` and no subjects for `subjects=0`.

    Its tasks are all of `classes`, named by their number, and the first two; `counts` are its training images.
    `damage` replaces the bytes of images by id.
    """
    rng = np.random.default_rng(seed)
    counts = counts or (COUNTS if classes == CLASSES else dict.fromkeys(classes, 10))
    folder.mkdir(parents=True, exist_ok=True)
    for split, split_counts in (("train", counts), ("test", dict.fromkeys(classes, n_test // len(classes)))):
        rows: list[dict[str, Any]] = []
        for label, n in split_counts.items():
            for i in range(n):
                sample_id = f"{name}-{split}-{label}-{i:04d}"
                content = encoded(bar_image(EIGHT_CLASSES.index(label), rng, size))
                content = (damage or {}).get(sample_id, content)
                image = {"bytes": content, "path": None}
                box = [1.0, 1.0, float(size - 1), float(size - 1)]
                subject = f"s{i % subjects}" if subjects else None
                rows.append({"id": sample_id, "image": image, "label": label, "subject": subject, "box": box})
        if rows:
            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / f"{split}.parquet")
    description = {
        "name": name,
        "title": "Bars at heights",
        "licence": "CC0",
        "classes": {str(len(classes)): list(classes), "2": list(classes[:2])},
        "default_classes": str(len(classes)),
        "family": "synthfaces",
    }
    (folder / "dataset.json").write_text(json.dumps(description), "utf-8")
    return folder
