"""Anybody's folders: splits and classes by their names, images without a label at any depth."""

from pathlib import Path

from fer_lookalikes.expected import Expected, shade_of, write, write_image

PLACES = {
    "train/Happy/face1.jpg": ("train", "happiness"),
    "train/Happy/face2.PNG": ("train", "happiness"),
    "train/fear/face3.jpg": ("train", "fear"),
    "train/fear/face4.tiff": ("train", "fear"),
    "val/happy/face5.jpg": ("validation", "happiness"),
    "test/fear/face6.jpg": ("test", "fear"),
    "test/happy/face7.jpg": ("test", "happiness"),
    "unlabeled/face8.jpg": ("unlabeled", None),
    "unlabeled/deep/er/face9.jpg": ("unlabeled", None),
}


def build(root: Path) -> dict[str, list[Expected]]:
    for name in PLACES:
        write_image(root / name)
    write(root / "train/fear/.DS_Store")
    write(root / "notes.txt", "of no split")
    return {"image-folder": [Expected(name, *place, shade_of(name)) for name, place in PLACES.items()]}
