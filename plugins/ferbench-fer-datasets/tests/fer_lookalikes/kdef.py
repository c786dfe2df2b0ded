"""KDEF: a folder for each session of a person, of names such as AF01AFFL, beside the averaged faces."""

from pathlib import Path

from fer_lookalikes.expected import Expected, shade_of, write, write_image

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


def build(root: Path) -> dict[str, list[Expected]]:
    """Two people in two sessions; all expressions straight, fear from every angle."""
    for folder in FOLDERS:
        for code in CODES:
            for angle in ANGLES if code == "AF" else ("S",):
                write_image(root / "KDEF_and_AKDEF" / "KDEF" / folder / _file(folder, code, angle))
    write_image(root / "KDEF_and_AKDEF" / "AKDEF" / "FEMALE" / "AFANS.JPG")
    write(root / "KDEF_and_AKDEF" / "ReadThis" / "readme.txt", "about the images")
    write(root / "KDEF_and_AKDEF" / "KDEF" / "AF01" / "Thumbs.db")
    return {"kdef": _rows(("S",)), "kdef-all-angles": _rows(ANGLES)}


def _rows(angles: tuple[str, ...]) -> list[Expected]:
    """The faces of these angles, in the order of their names."""
    return [
        Expected(f"{folder}{code}{angle}", "train", label, shade_of(_file(folder, code, angle)), folder[1:])
        for folder in FOLDERS
        for code, label in CODES.items()
        for angle in ANGLES
        if angle in angles and (angle == "S" or code == "AF")
    ]


def _file(folder: str, code: str, angle: str) -> str:
    return f"{folder}{code}{angle}.{'jpg' if folder == 'BM35' else 'JPG'}"
