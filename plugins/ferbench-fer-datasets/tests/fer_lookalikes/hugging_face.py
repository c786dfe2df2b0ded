"""Parquet as Hugging Face shares it: a file for each split, the label as a ClassLabel under a name of its own."""

import json
from pathlib import Path

import pyarrow
import pyarrow.parquet

from fer_lookalikes.expected import Expected, grey_image

NAMES = {"angry": "anger", "happy": "happiness", "sad": "sadness"}
FEATURES = {
    "image": {"_type": "Image"},
    "emotion_label": {"names": list(NAMES), "_type": "ClassLabel"},
    "age": {"dtype": "int64", "_type": "Value"},
}
METADATA = {"huggingface": json.dumps({"info": {"features": FEATURES}})}
SPLITS = {"train": 9, "validation": 3, "test": 6}


def build(root: Path) -> dict[str, list[Expected]]:
    """Eighteen images in three files."""
    expected = []
    root.mkdir(parents=True, exist_ok=True)
    for split, rows in SPLITS.items():
        shades = [10 * (len(expected) + row) for row in range(rows)]
        columns = {
            "image": [{"bytes": grey_image(shade, "PNG"), "path": f"{shade}.png"} for shade in shades],
            "emotion_label": [row % len(NAMES) for row in range(rows)],
            "age": list(range(rows)),
        }
        table = pyarrow.table(columns).replace_schema_metadata(METADATA)
        pyarrow.parquet.write_table(table, root / f"{split}-00000-of-00001.parquet")
        labels = list(NAMES.values())
        expected += [
            Expected(f"{split}/{row}", split, labels[row % len(NAMES)], shade) for row, shade in enumerate(shades)
        ]
    return {"huggingface": expected}
