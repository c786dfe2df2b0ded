"""A pool as WebDataset tars, at any depth."""

from pathlib import Path

from fer_lookalikes.expected import Expected
from fer_lookalikes.shards import TEST, TRAIN, write_tar

SHADES = {"00000.tar/a.jpg": 10, "00000.tar/b.png": 60, "00000.tar/c.jpg": 110}
DEEPER = {"more/00001.tar/x/a.jpg": 160, "more/00001.tar/y/a.jpg": 210}


def build(root: Path) -> dict[str, list[Expected]]:
    write_tar(root / "00000.tar", TRAIN)
    write_tar(root / "more/00001.tar", TEST)
    return {"webdataset": [Expected(name, "unlabeled", None, shade) for name, shade in (SHADES | DEEPER).items()]}
