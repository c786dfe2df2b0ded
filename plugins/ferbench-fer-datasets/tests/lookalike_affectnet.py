"""AffectNet of 2021: ids with gaps, the same in both sets; labels are integers or strings, some of no expression."""

from pathlib import Path

import numpy as np
from expected import Expected, write_image

LABELS = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt")


def build(root: Path) -> dict[str, list[Expected]]:
    samples = []
    for folder, split, prefix in (("train_set", "train", "train"), ("val_set", "test", "val")):
        for label in range(11):
            name, shade = str(3 * label), 10 * label + (120 if split == "test" else 0)
            write_image(root / f"{folder}/images/{name}.jpg", shade)
            _annotate(root / f"{folder}/annotations", name, label)
            if label < 8:
                samples.append(Expected(f"{prefix}/{name}", split, LABELS[label], shade))
    return {"affectnet": samples}


def _annotate(folder: Path, name: str, label: int) -> None:
    """The four files of an image; labels are integers of several kinds and strings."""
    folder.mkdir(parents=True, exist_ok=True)
    kinds = (np.int64, np.str_, np.uint8, np.bytes_, np.dtype(">i4").type)
    np.save(folder / f"{name}_exp.npy", np.asarray(str(label)).astype(kinds[label % len(kinds)]))
    np.save(folder / f"{name}_val.npy", np.asarray(0.25))
    np.save(folder / f"{name}_aro.npy", np.asarray("-0.5"))
    np.save(folder / f"{name}_lnd.npy", np.zeros(136))
