"""SFEW 2.0 as its archives unpack: one nested in a folder of its name, and Test without labels."""

from pathlib import Path

from fer_lookalikes.expected import Expected, shade_of, write, write_image

LABELS = {
    "Angry": "anger",
    "Disgust": "disgust",
    "Fear": "fear",
    "Happy": "happiness",
    "Neutral": "neutral",
    "Sad": "sadness",
    "Surprise": "surprise",
}


def build(root: Path) -> dict[str, list[Expected]]:
    """Two training and one test image of each class."""
    train, val = root / "Train" / "Train_Aligned_Faces", root / "Val" / "Val_Aligned_Faces_new" / "Val_Aligned_Faces"
    expected = []
    for split, folder, films in (("train", train, ("Airheads", "Bridesmaids")), ("test", val, ("Hangover",))):
        for number, (name, label) in enumerate(LABELS.items()):
            for film in films:
                stem = f"{film}_000519240_{number:08d}"
                write_image(folder / name / f"{stem}.png")
                expected.append(Expected(f"{split}/{stem}", split, label, shade_of(f"{stem}.png")))
    write_image(root / "Test" / "Test_Aligned_Faces" / "Juno_000001000_00000001.png")
    write(root / "Train" / "LPQ" / "features.txt", "no image")
    write(train / "Angry" / "Thumbs.db")
    write(train / ".DS_Store")
    write(train / "Sad" / "._Airheads_000519240_00000005.png")
    return {"sfew": expected}
