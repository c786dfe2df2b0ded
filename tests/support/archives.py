"""Archives as their publishers write them, made byte by byte."""

import io
import json
import struct
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

MAGIC = 0xCED7230A


def face(seed: int, size: int = 16) -> Image.Image:
    """An image of its own for every seed."""
    return Image.fromarray(np.random.default_rng([7, seed]).integers(0, 256, (size, size, 3), dtype=np.uint8))


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def describe(folder: Path, kind: str, name: str = "crowd", **more: str) -> Path:
    """The `dataset.json` that makes a folder a streamed set."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset.json").write_text(json.dumps({"name": name, "stream": kind, **more}))
    return folder


def write_tar(path: Path, images: Sequence[bytes], first: int = 0) -> None:
    """A WebDataset shard: each image beside its label."""
    with tarfile.open(path, "w") as archive:
        for number, content in enumerate(images, first):
            for name, data in ((f"{number:06d}.jpg", content), (f"{number:06d}.cls", b"3")):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))


def record(payload: bytes, parts: Sequence[bytes] = ()) -> bytes:
    """A RecordIO record; `parts` are those of a record that was cut at magic numbers within."""
    pieces = list(parts) or [payload]
    kinds = [0] if len(pieces) == 1 else [1, *[2] * (len(pieces) - 2), 3]
    framed = [
        struct.pack("<II", MAGIC, kind << 29 | len(piece)) + piece + bytes(-len(piece) % 4)
        for kind, piece in zip(kinds, pieces, strict=True)
    ]
    return b"".join(framed)


def labeled(content: bytes, key: int, labels: Sequence[float] = ()) -> bytes:
    """An image behind its labels: one in the header, several after it."""
    header = struct.pack("<IfQQ", len(labels), 0.0 if labels else 5.0, key, 0)
    return header + struct.pack(f"<{len(labels)}f", *labels) + content


def write_records(path: Path, records: Sequence[tuple[int, bytes]]) -> list[int]:
    """`train.rec` and `train.idx` of keys and records; returns the offsets."""
    offsets, body = [], b""
    for _, content in records:
        offsets.append(len(body))
        body += content
    path.write_bytes(body)
    lines = [f"{key}\t{offset}\n" for (key, _), offset in zip(records, offsets, strict=True)]
    path.with_suffix(".idx").write_text("".join(lines))
    return offsets
