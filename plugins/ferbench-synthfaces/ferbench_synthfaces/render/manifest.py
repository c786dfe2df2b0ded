"""The table of a split, one row per image, with a schema for Arrow and for Hugging Face `datasets`."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from ferbench_synthfaces.render.expression import Expression
from ferbench_synthfaces.render.identity import ANCESTRIES, Identity
from ferbench_synthfaces.render.scene import Shot

WEBP_QUALITY = 90
ROWS_PER_GROUP = 1000

_FLOATS = {
    "ancestry": ANCESTRIES,
    "pose": ("yaw", "pitch", "roll"),
    "light": ("azimuth", "elevation", "ambient", "key"),
}


def schema(action_names: Sequence[str], labeled: bool) -> pa.Schema:
    """Columns of a split. A pool has no `label`, nor the actions and the intensity, which would reveal it."""
    told = [
        ("label", pa.string()),
        ("intensity", pa.float32()),
        ("action_units", pa.list_(pa.uint8(), len(action_names))),
    ]
    fields = [
        ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        ("id", pa.string()),
        *(told if labeled else []),
        ("subject", pa.string()),
        ("box", pa.list_(pa.float32(), 4)),
        ("age", pa.float32()),
        ("gender", pa.float32()),
        *((name, pa.struct([(part, pa.float32()) for part in parts])) for name, parts in _FLOATS.items()),
        ("glasses", pa.bool_()),
        ("occluded", pa.bool_()),
        ("grey", pa.bool_()),
    ]
    columns = pa.schema(fields)
    metadata = {
        "huggingface": json.dumps({"info": {"features": {field.name: _feature(field.type) for field in columns}}}),
        "action_units": json.dumps(list(action_names)),
    }
    return columns.with_metadata(metadata)


def _feature(kind: pa.DataType) -> dict[str, Any]:
    """Hugging Face's description of a column."""
    if pa.types.is_struct(kind):
        names = [kind.field(i).name for i in range(kind.num_fields)]
        if names == ["bytes", "path"]:
            return {"_type": "Image"}
        return {name: _feature(kind.field(name).type) for name in names}
    if pa.types.is_fixed_size_list(kind):
        return {"_type": "Sequence", "feature": _feature(kind.value_type), "length": kind.list_size}
    return {"_type": "Value", "dtype": "float32" if kind == pa.float32() else str(kind)}


def row(
    image_id: str, subject: str, label: str, identity: Identity, expression: Expression, shot: Shot
) -> dict[str, Any]:
    """One row of the table; the schema of a pool drops the columns that it does not have."""
    phenotype, pose, light = identity.phenotype, shot.pose, shot.light
    return {
        "image": {"bytes": encode(shot.image), "path": f"{image_id}.webp"},
        "id": image_id,
        "label": label,
        "intensity": expression.intensity,
        "action_units": np.rint(100 * expression.actions).astype(np.uint8).tolist(),
        "subject": subject,
        "box": list(shot.box),
        "age": phenotype.age,
        "gender": phenotype.gender,
        "ancestry": dict(zip(ANCESTRIES, phenotype.ancestry, strict=True)),
        "pose": {"yaw": pose.yaw, "pitch": pose.pitch, "roll": pose.roll},
        "light": {name: getattr(light, name) for name in _FLOATS["light"]},
        "glasses": identity.glasses is not None,
        "occluded": shot.occluded,
        "grey": shot.grey,
    }


def encode(image: NDArray[np.uint8]) -> bytes:
    """An image (S, S, 3) as WebP."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "WEBP", quality=WEBP_QUALITY, method=6)
    return buffer.getvalue()


def write_table(table: pa.Table, path: Path) -> None:
    """Write a Parquet file atomically."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    pq.write_table(table, partial, compression="zstd", use_dictionary=["label"], row_group_size=ROWS_PER_GROUP)
    os.replace(partial, path)
