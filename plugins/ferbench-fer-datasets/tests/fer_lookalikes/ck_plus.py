"""CK+: sequences with and without a label, whose label files hold a float."""

from pathlib import Path

from fer_lookalikes.expected import Expected, shade_of, write, write_image

SEQUENCES = [  # subject, sequence, number of frames, what the label file says
    ("S005", "001", 5, ("   3.0000000e+00\n", "disgust")),
    ("S010", "001", 4, None),
    ("S010", "002", 12, ("   7.0000000e+00\n", "surprise")),
    ("S010", "004", 4, ("   1.0000000e+00\n", "anger")),
    ("S011", "001", 4, ("   5.0000000e+00\n", "happiness")),
    ("S011", "002", 6, ("   4.0000000e+00\n", "fear")),
    ("S138", "004", 4, ("   2.0000000e+00", "contempt")),
    ("S138", "005", 4, ("6", "sadness")),
]


def build(root: Path) -> dict[str, list[Expected]]:
    """Eight sequences of four subjects, seven of them labeled."""
    expected = []
    for subject, sequence, frames, content in SEQUENCES:
        stems = [f"{subject}_{sequence}_{frame:08d}" for frame in range(1, frames + 1)]
        for stem in stems:
            write_image(root / "cohn-kanade-images" / subject / sequence / f"{stem}.png", size=(16, 12))
        emotion = root / "Emotion" / subject / sequence
        emotion.mkdir(parents=True)
        if content:
            text, label = content
            write(emotion / f"{stems[-1]}_emotion.txt", text)
            video = f"{subject}_{sequence}"
            expected += [Expected(stem, "train", label, shade_of(f"{stem}.png"), subject, video) for stem in stems[-3:]]
    (root / "cohn-kanade-images" / "S999" / "001").mkdir(parents=True)  # of a person without a folder in Emotion
    for name in (
        "cohn-kanade-images",
        "cohn-kanade-images/S010/002",
        "Emotion",
        "Emotion/S010/001",
        "Emotion/S010/002",
    ):
        write(root / name / ".DS_Store", "of another system")
    write(root / "Emotion" / "S005" / "001" / "._S005_001_00000005_emotion.txt", "of another system")
    write(root / "Landmarks" / "S005" / "001" / "S005_001_00000001_landmarks.txt", "1.0 2.0\n" * 68)
    return {"ck-plus": expected, "ck-plus-neutral": _with_neutral(expected)}


def _with_neutral(peaks: list[Expected]) -> list[Expected]:
    """What the reader with neutral frames yields: before each sequence its first frame."""
    rows = []
    for row in peaks:
        if not rows or rows[-1].video != row.video:
            first = f"{row.video}_00000001"
            rows.append(row._replace(id=first, label="neutral", shade=shade_of(f"{first}.png")))
        rows.append(row)
    return rows
