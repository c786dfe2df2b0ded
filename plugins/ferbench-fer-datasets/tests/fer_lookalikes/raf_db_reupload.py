"""RAF-DB as re-uploaded to Kaggle: a folder per class, and lists that say the same."""

from pathlib import Path

from fer_lookalikes.expected import Expected, write, write_image
from fer_lookalikes.raf_db import LABELS, numbered


def build(root: Path) -> dict[str, list[Expected]]:
    samples = []
    lists = {"train": ["image,label"], "test": ["image,label"]}
    for i, (name, split, label) in enumerate(numbered()):
        write_image(root / f"DATASET/{split}/{label}/{name}_aligned.jpg", 2 * i)
        lists[split].append(f"{name}_aligned.jpg,{label}")
        samples.append(Expected(name, split, LABELS[label - 1], 2 * i))
    for split, lines in lists.items():
        write(root / f"{split}_labels.csv", "\n".join(lines) + "\n")
    return {"raf-db": samples}
