"""WebDataset shards with class names beside the images, in each of the ways that they may stand there."""

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

from fer_lookalikes.expected import Expected, grey_image

TRAIN = {
    "a.jpg": grey_image(10),
    "a.cls": b"happy\n",
    "b.json": b'{"label": "fear", "split": "val", "subject": 7, "video": "v"}',
    "b.png": grey_image(60, "PNG"),
    "c.jpg": grey_image(110),
}
TEST = {"x/a.jpg": grey_image(160), "x/a.txt": b"sad", "y/a.jpg": grey_image(210), "y/a.txt": b"fear"}


def write_tar(path: Path, members: Mapping[str, bytes]) -> None:
    """An archive of files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def build(root: Path) -> dict[str, list[Expected]]:
    write_tar(root / "train-00000.tar", TRAIN)
    write_tar(root / "test-00000.tar", TEST)
    samples = [
        Expected("train-00000.tar/a", "train", "happiness", 10),
        Expected("train-00000.tar/b", "validation", "fear", 60, "7", "v"),
        Expected("train-00000.tar/c", "unlabeled", None, 110),
        Expected("test-00000.tar/x/a", "test", "sadness", 160),
        Expected("test-00000.tar/y/a", "test", "fear", 210),
    ]
    return {"shards": samples}
