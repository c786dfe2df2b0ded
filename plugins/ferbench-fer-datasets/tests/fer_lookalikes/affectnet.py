"""AffectNet of 2021: ids with gaps, the same in both sets; labels are integers or strings, some of no expression."""

import io
from pathlib import Path

import numpy as np

from fer_lookalikes.expected import Expected, write, write_image

LABELS = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt")


KINDS = ("<i8", "<U2", "|u1", "|S2", ">i4")


def build(root: Path) -> dict[str, list[Expected]]:
    samples = []
    for folder, split, prefix in (("train_set", "train", "train"), ("val_set", "test", "val")):
        for label in range(11):
            name, shade = str(3 * label), 10 * label + (120 if split == "test" else 0)
            write_image(root / f"{folder}/images/{name}.jpg", shade)
            kind = KINDS[label % len(KINDS)]
            write(root / f"{folder}/annotations/{name}_exp.npy", npy(np.asarray(str(label)).astype(kind)))
            if label < 8:
                samples.append(Expected(f"{prefix}/{name}", split, LABELS[label], shade))
        for other, value in {"val": np.asarray(0.25), "aro": np.asarray("-0.5"), "lnd": np.zeros(136)}.items():
            write(root / f"{folder}/annotations/0_{other}.npy", npy(value))
    return {"affectnet": samples}


def npy(array: np.ndarray) -> bytes:
    """A file of NumPy."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()
