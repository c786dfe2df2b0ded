"""AffectNet of 2017: lists with and without a header, boxes as x, y, width and height, extensions that lie or shout,
classes that are no expressions, and a negative width.
"""

from pathlib import Path

from fer_lookalikes.affectnet import LABELS
from fer_lookalikes.expected import Expected, write, write_image

HEADER = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
ENDINGS = (("jpg", "JPEG"), ("JPG", "JPEG"), ("png", "PNG"), ("jpeg", "PNG"), ("TIF", "TIFF"), ("bmp", "BMP"))
BASE = "Manually_Annotated_compressed"


def row(name: str, box: tuple[int, int, int, int], expression: int) -> str:
    """A line of a list."""
    return f"{name},{','.join(map(str, box))},1.5;2.5;3.5;4.5,{expression},0.785,-0.055"


def build(root: Path) -> dict[str, list[Expected]]:
    samples = []
    lists = {"training": [HEADER], "validation": list[str]()}
    for split, (listed, lines) in zip(("train", "test"), lists.items(), strict=True):
        for expression in (*range(11), 0):
            shade = 10 * len(lines) + (120 if split == "test" else 0)
            ending, kind = ENDINGS[expression % len(ENDINGS)]
            name = f"{expression + 1}/{shade:056x}.{ending}"
            face = expression < 8 and len(lines) < 11
            box = (1, 2, 5, 4) if face else (0, 0, -1, -1)
            lines.append(row(name, box, expression))
            write_image(root / BASE / "Manually_Annotated_Images" / name, shade, kind)
            if face:
                samples.append(Expected(name, split, LABELS[expression], shade, box=(1.0, 2.0, 6.0, 6.0)))
        write(root / f"Manually_Annotated_file_lists/{listed}.csv", "\n".join(lines) + "\n")
    return {"affectnet-2017": samples}
