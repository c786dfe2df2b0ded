"""RAF-DB as published: a misspelt list without a line end at its end, labels from 1, ids of 5 and of 4 digits."""

from collections.abc import Iterator
from pathlib import Path

from fer_lookalikes.expected import Expected, write, write_image

LABELS = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")
LIST = "raf-basic/EmoLabel/list_patition_label.txt"


def numbered() -> Iterator[tuple[str, str, int]]:
    """Name, split and label of three training and two test images per class."""
    for i in range(35):
        split, number = ("train", f"{i + 1:05d}") if i < 21 else ("test", f"{i - 20:04d}")
        yield f"{split}_{number}", split, i % 7 + 1


def build(root: Path) -> dict[str, list[Expected]]:
    base = root / "raf-basic"
    samples: dict[str, list[Expected]] = {"raf-db": [], "raf-db-original": []}
    lines = []
    for i, (name, split, label) in enumerate(numbered()):
        lines.append(f"{name}.jpg {label}")
        expression, aligned, original = LABELS[label - 1], 2 * i, 255 - 2 * i
        write_image(base / f"Image/aligned/{name}_aligned.jpg", aligned)
        write_image(base / f"Image/original/{name}.jpg", original)
        box = (1.5, 2.0, 6.25, 7.0 + i)
        write(base / f"Annotation/boundingbox/{name}_boundingbox.txt", "{} {} {} {} \n".format(*box))
        samples["raf-db"].append(Expected(name, split, expression, aligned))
        samples["raf-db-original"].append(Expected(name, split, expression, original, box=box))
    write(root / LIST, "\n".join(lines))
    write(base / "Annotation/manual/train_00001_manu_attri.txt", "1\t2\n" * 5 + "0\n0\n2\n")
    write(base / "Image/aligned/.DS_Store", "")
    return samples
