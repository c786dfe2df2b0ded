"""AffectNet in YOLO's layout: names of classes in alphabetical order, a file of one line beside each image."""

from pathlib import Path

from fer_lookalikes.expected import Expected, write, write_image

NAMES = {
    "Anger": "anger",
    "Contempt": "contempt",
    "Disgust": "disgust",
    "Fear": "fear",
    "Happy": "happiness",
    "Neutral": "neutral",
    "Sad": "sadness",
    "Surprise": "surprise",
}
SPLITS = {"train": "train", "valid": "validation", "test": "test"}


def build(root: Path) -> dict[str, list[Expected]]:
    samples = []
    for folder, split in SPLITS.items():
        for number, label in enumerate(NAMES.values()):
            for copy in (0, 1):
                name, shade = f"{folder}/images/ffhq_{number}{copy}.jpg", 5 * len(samples)
                write_image(root / "YOLO_format" / name, shade)
                line = f"{number} 0.5 0.5 0.9 0.9\n"
                write(root / "YOLO_format" / folder / f"labels/ffhq_{number}{copy}.txt", line)
                samples.append(Expected(name, split, label, shade))
    listed = ", ".join(f"'{name}'" for name in NAMES)
    write(root / "YOLO_format/data.yaml", f"train: ../train/images\nval: ../valid/images\n\nnc: 8\nnames: [{listed}]\n")
    return {"affectnet-yolo": samples}
