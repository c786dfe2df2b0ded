"""Anybody's manifest as Parquet: names of columns in their own spelling, and one column more."""

from pathlib import Path

import pyarrow
import pyarrow.parquet

from fer_lookalikes.expected import Expected, write_image
from fer_lookalikes.manifest import SAMPLES


def build(root: Path) -> dict[str, list[Expected]]:
    for sample in SAMPLES:
        write_image(root / sample.id)
    columns = {
        "Path": [sample.id for sample in SAMPLES],
        "label": [sample.label for sample in SAMPLES],
        "split": [sample.split for sample in SAMPLES],
        "subject": [sample.subject for sample in SAMPLES],
        "video": [sample.video for sample in SAMPLES],
        **{
            side: [sample.box and sample.box[i] for sample in SAMPLES]
            for i, side in enumerate(("x0", "y0", "x1", "y1"))
        },
        "age": [30, None, 41, 52, 63],
    }
    pyarrow.parquet.write_table(pyarrow.table(columns), root / "manifest.parquet")
    return {"manifest": SAMPLES}
