"""A tiny dataset on disk, for checks that run whole cells."""

import io
import json
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
from PIL import Image


def write_greys(folder: Path) -> Path:
    """Write sixty grey images of 16 px in three classes, as a folder for `--dataset`; return the folder."""
    names = ("neutral", "happiness", "sadness")
    folder.mkdir(parents=True)
    for split, count in (("train", 12), ("test", 8)):
        rows = [
            {"id": f"{split}-{label}-{i}", "image": {"bytes": _png(40 * k + 3 * i), "path": None}, "label": label}
            for k, label in enumerate(names)
            for i in range(count)
        ]
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / f"{split}.parquet")
    description = {"name": "bars", "title": "Bars", "licence": "CC0", "classes": {"3": names}, "default_classes": "3"}
    (folder / "dataset.json").write_text(json.dumps({**description, "family": "synthfaces"}), "utf-8")
    return folder


def _png(value: int) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(value).integers(0, 20, (16, 16, 3)) + value
    Image.fromarray(noise.astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()
