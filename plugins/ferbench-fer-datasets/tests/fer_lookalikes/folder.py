"""A pool in folders, as anybody may have it."""

from pathlib import Path

from fer_lookalikes.expected import Expected, shade_of, write, write_image

NAMES = ("face1.jpg", "face2.png", "inner/face3.jpg", "inner/deeper/face4.jpg", "inner/deeper/face5.JPG")


def build(root: Path) -> dict[str, list[Expected]]:
    for name in NAMES:
        write_image(root / name)
    write(root / "inner/list.txt", "no image")
    return {"folder": [Expected(name, "unlabeled", None, shade_of(name)) for name in NAMES]}
