"""RAF-DB as POSTER++ and others share it: train and valid, whose images are the published test set; no lists."""

from pathlib import Path

from fer_lookalikes.expected import Expected, write, write_image
from fer_lookalikes.raf_db import LABELS, numbered


def build(root: Path) -> dict[str, list[Expected]]:
    samples = []
    for i, (name, split, label) in enumerate(numbered()):
        write_image(root / f"{'train' if split == 'train' else 'valid'}/{label}/{name}_aligned.jpg", 2 * i)
        samples.append(Expected(name, split, LABELS[label - 1], 2 * i))
    write(root / "__MACOSX/train/1/._train_00001_aligned.jpg", b"\0\5\26\7")
    write(root / "train/Thumbs.db")
    write(root / "valid/.DS_Store")
    return {"raf-db": samples}
