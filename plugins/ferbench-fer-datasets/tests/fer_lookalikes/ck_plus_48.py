"""CK+48: peak frames of sequences in a folder for each class, and what a Mac leaves in a zip."""

from pathlib import Path

from fer_lookalikes.expected import Expected, shade_of, write, write_image

CLASSES = {
    "anger": "anger",
    "contempt": "contempt",
    "disgust": "disgust",
    "fear": "fear",
    "happy": "happiness",
    "sadness": "sadness",
    "surprise": "surprise",
}


def build(root: Path) -> dict[str, list[Expected]]:
    """Three frames of a sequence of each of two people in each class."""
    expected = []
    for number, (folder, label) in enumerate(CLASSES.items()):
        for subject in ("S010", "S138"):
            video = f"{subject}_{number + 1:03d}"
            for frame in (15, 16, 17):
                stem = f"{video}_{frame:08d}"
                write_image(root / "CK+48" / folder / f"{stem}.png")
                expected.append(Expected(stem, "train", label, shade_of(f"{stem}.png"), subject, video))
    write(root / "__MACOSX/CK+48/anger/._S010_001_00000015.png", b"\0\5\26\7")
    return {"ck-plus-48": expected}
