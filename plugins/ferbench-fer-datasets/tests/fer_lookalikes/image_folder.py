"""Anybody's folders: splits and classes by their names, images without a label at any depth."""

from pathlib import Path

from fer_lookalikes.expected import Expected, shade_of, write, write_image

PLACES = {
    "train/Happy/a.jpg": ("train", "happiness"),
    "train/Happy/b.PNG": ("train", "happiness"),
    "train/fear/c.jpg": ("train", "fear"),
    "train/fear/d.tiff": ("train", "fear"),
    "val/happy/e.jpg": ("validation", "happiness"),
    "test/fear/f.jpg": ("test", "fear"),
    "test/happy/g.jpg": ("test", "happiness"),
    "unlabeled/h.jpg": ("unlabeled", None),
    "unlabeled/deep/er/i.jpg": ("unlabeled", None),
}


def build(root: Path) -> dict[str, list[Expected]]:
    for name in PLACES:
        write_image(root / name)
    write(root / "train/fear/.DS_Store")
    write(root / "notes.txt", "of no split")
    return {"image-folder": [Expected(name, *place, shade_of(name)) for name, place in PLACES.items()]}
