"""JAFFE: TIFF files in one folder, whose names have three dots."""

from pathlib import Path

from fer_lookalikes.expected import Expected, shade_of, write, write_image

CODES = {
    "AN": "anger",
    "DI": "disgust",
    "FE": "fear",
    "HA": "happiness",
    "NE": "neutral",
    "SA": "sadness",
    "SU": "surprise",
}


def build(root: Path) -> dict[str, list[Expected]]:
    """Two images of each expression of two people."""
    expected = []
    for first, subject in ((39, "KA"), (187, "YM")):
        for number, (code, label) in enumerate(CODES.items()):
            for repetition in (1, 2):
                stem = f"{subject}.{code}{repetition}.{first + 2 * number + repetition}"
                write_image(root / "jaffe" / f"{stem}.tiff")
                expected.append(Expected(stem, "train", label, shade_of(f"{stem}.tiff"), subject))
    write(root / "jaffe" / "README_FIRST.txt", "about the images")
    write(root / "jaffe" / ".DS_Store")
    return {"jaffe": sorted(expected)}
