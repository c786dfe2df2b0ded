"""KDEF: a folder for each session of a person, of names such as AF01AFFL, beside the averaged faces."""

from pathlib import Path

from ferbench_fer_datasets.kdef import Kdef

from .expected2 import Expected, write_image, write_text

READER = Kdef
CODES = {
    "AF": "fear",
    "AN": "anger",
    "DI": "disgust",
    "HA": "happiness",
    "NE": "neutral",
    "SA": "sadness",
    "SU": "surprise",
}
FOLDERS = ("AF01", "AM35", "BF01", "BM35")
ANGLES = ("FL", "FR", "HL", "HR", "S")


def build(root: Path) -> list[Expected]:
    """Two people in two sessions; all expressions straight, fear from every angle."""
    for folder in FOLDERS:
        for code in CODES:
            for angle in ANGLES if code == "AF" else ("S",):
                suffix = "jpg" if folder == "BM35" else "JPG"
                write_image(root / "KDEF_and_AKDEF" / "KDEF" / folder / f"{folder}{code}{angle}.{suffix}")
    write_image(root / "KDEF_and_AKDEF" / "AKDEF" / "FEMALE" / "AFANS.JPG")
    write_text(root / "KDEF_and_AKDEF" / "ReadThis" / "readme.txt", "about the images")
    write_text(root / "KDEF_and_AKDEF" / "KDEF" / "AF01" / "Thumbs.db")
    return rows(("S",))


def rows(angles: tuple[str, ...]) -> list[Expected]:
    """The faces of these angles, in the order of their names."""
    return [
        Expected(f"{folder}{code}{angle}", "train", label, folder[1:])
        for folder in FOLDERS
        for code, label in CODES.items()
        for angle in ANGLES
        if angle in angles and (angle == "S" or code == "AF")
    ]
