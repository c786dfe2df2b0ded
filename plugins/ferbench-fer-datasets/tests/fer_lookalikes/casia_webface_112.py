"""CASIA-WebFace as RecordIO: a header record, images with one or several labels, and records of people."""

import struct
from pathlib import Path

from fer_lookalikes.expected import Expected, grey_image, write

MAGIC = 0xCED7230A
SHADES = (10, 90, 170)


def build(root: Path) -> dict[str, list[Expected]]:
    """Three images of two people."""
    folder = root / "faces_webface_112x112"
    records = [
        _record(0, [4, 6], b""),  # images are the keys 1 to 3, people 4 and 5
        _record(1, [], grey_image(SHADES[0])),
        _record(2, [0], grey_image(SHADES[1])),
        _record(3, [1, 1], grey_image(SHADES[2])),
        _record(4, [1, 3], b""),
        _record(5, [3, 4], b""),
    ]
    offsets = [sum(map(len, records[:key])) for key in range(len(records))]
    write(folder / "train.idx", "".join(f"{key}\t{offset}\n" for key, offset in enumerate(offsets)))
    (folder / "train.rec").write_bytes(b"".join(records))
    write(folder / "train.lst", "1\tpeople/1.jpg\t0\n")
    write(folder / "property", "2,112,112")
    write(folder / "lfw.bin", "pairs of another set")
    samples = [Expected(f"train.rec/{key}", "unlabeled", None, shade) for key, shade in enumerate(SHADES, 1)]
    return {"casia-webface-112": samples}


def _record(key: int, labels: list[int], image: bytes) -> bytes:
    payload = struct.pack(f"<IfQQ{len(labels)}f", len(labels), 0.0, key, 0, *labels) + image
    return struct.pack("<II", MAGIC, len(payload)) + payload + bytes(-len(payload) % 4)
