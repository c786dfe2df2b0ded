"""FER2013 as image folders: both test sets together, and a name that occurs in two folders."""

from pathlib import Path

from fer_lookalikes.expected import Expected, write_image

CLASSES = {
    "angry": "anger",
    "disgust": "disgust",
    "fear": "fear",
    "happy": "happiness",
    "neutral": "neutral",
    "sad": "sadness",
    "surprise": "surprise",
}
NAMES = {"train": ("Training_1.jpg", "Training_2.JPG"), "test": ("PublicTest_1.jpg", "PrivateTest_1.jpg")}


def build(root: Path) -> dict[str, list[Expected]]:
    samples = []
    for split, names in NAMES.items():
        for folder, label in CLASSES.items():
            for name in names:
                path = f"{split}/{folder}/{name}"
                write_image(root / path, 8 * len(samples))
                samples.append(Expected(path, split, label, 8 * len(samples)))
    (root / "train/angry/Thumbs.db").write_bytes(b"")
    return {"fer2013-folders": samples}
