"""CASIA-WebFace as RecordIO: a header record, images with one or several labels, and records of people."""

import io
import struct
from pathlib import Path

from PIL import Image

from ferbench_fer_datasets.face_pools import CasiaWebFace112

from .expected2 import Expected, write_text

READER = CasiaWebFace112
MAGIC = 0xCED7230A


def build(root: Path) -> list[Expected]:
    """Three images of two people."""
    folder = root / "faces_webface_112x112"
    records = [
        _record(0, [4, 6], b""),  # images are the keys 1 to 3, people 4 and 5
        _record(1, [], _jpeg(10)),
        _record(2, [0], _jpeg(90)),
        _record(3, [1, 1], _jpeg(170)),
        _record(4, [1, 3], b""),
        _record(5, [3, 4], b""),
    ]
    offsets = [sum(map(len, records[:key])) for key in range(len(records))]
    write_text(folder / "train.idx", "".join(f"{key}\t{offset}\n" for key, offset in enumerate(offsets)))
    (folder / "train.rec").write_bytes(b"".join(records))
    write_text(folder / "train.lst", "1\tpeople/1.jpg\t0\n")
    write_text(folder / "property", "2,112,112")
    write_text(folder / "lfw.bin", "pairs of another set")
    return [Expected(f"train.rec/{key}", "unlabeled") for key in (1, 2, 3)]


def _record(key: int, labels: list[int], image: bytes) -> bytes:
    payload = struct.pack(f"<IfQQ{len(labels)}f", len(labels), 0.0, key, 0, *labels) + image
    return struct.pack("<II", MAGIC, len(payload)) + payload + bytes(-len(payload) % 4)


def _jpeg(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (12, 10), (shade, 90, 120)).save(buffer, "JPEG")
    return buffer.getvalue()
