"""Images that are elsewhere, or in another format."""

import io
import os
import shutil

from PIL import Image

from fer_lookalikes.damaging import IMAGES, Tree
from fer_lookalikes.expected import write
from fer_lookalikes.mutations.kinds import files, move, some

SUFFIXES = (
    *(".JPG", ".Jpeg", ".jfif", ".png", ".jpg.jpg", "", ".txt", ".bak", ".dat", ".avif", ".jpg.part", ".jpeg_original"),
    *(".webp", ".csv", ".npy", ".db", ".tar", ".zip", ".parquet", ".rec", ".pdf", ".bin", ".gz"),
)
FORMATS = (
    *(
        ("PNG", "L", ".png"),
        ("JPEG", "CMYK", ".jpg"),
        ("PNG", "RGBA", ".png"),
        ("PNG", "P", ".png"),
        ("GIF", "P", ".gif"),
    ),
    *(
        ("BMP", "RGB", ".bmp"),
        ("WEBP", "RGB", ".webp"),
        ("TIFF", "F", ".tif"),
        ("PPM", "RGB", ".ppm"),
        ("PNG", "1", ".png"),
    ),
    *(("PNG", "I;16", ".png"), ("ICO", "RGB", ".ico"), ("AVIF", "RGB", ".avif"), ("TGA", "RGB", ".tga")),
    *(("JPEG2000", "RGB", ".jp2"), ("PPM", "L", ".pgm")),
)
"""Format, mode and suffix: of those that are decoded, and of others."""
OWN = 64
"""Bytes at the end of each image that tell it from all others."""


def moved(tree: Tree) -> None:
    """Some images lie in a further folder, or in the one above."""
    name = tree.chance.choice(("part2", "images", "new", "train", "1", "happy.bak"))
    up = tree.chance.random() < 0.3
    for path in some(tree, files(tree, *IMAGES)):
        is_up = up and path.parent != tree.root
        move(path, path.parents[1] / path.name if is_up else path.parent / name / path.name)


def other_suffix(tree: Tree) -> None:
    """Names of images end in another way, whatever they are."""
    suffix = tree.chance.choice(SUFFIXES)
    for path in some(tree, files(tree, *IMAGES)):
        move(path, path.with_suffix(suffix))


def other_format(tree: Tree) -> None:
    """Images are of another format, and their names may say so."""
    kind, mode, suffix = tree.chance.choice(FORMATS)
    renames = tree.chance.random() < 0.5
    for path in some(tree, files(tree, *IMAGES)):
        target = path.with_suffix(suffix) if renames else path
        content = path.read_bytes()
        made = _converted(content, kind, mode)
        if made and (target == path or not os.path.lexists(target)):
            path.unlink()
            write(target, made + content[-OWN:])
            tree.same[target.read_bytes()] = tree.same.get(content, content)


def _converted(content: bytes, kind: str, mode: str) -> bytes:
    """The image in another format; nothing where it is damaged, or where Pillow has no such encoder."""
    buffer = io.BytesIO()
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.convert(mode).save(buffer, kind)
    except (OSError, ValueError, KeyError, SyntaxError, Image.DecompressionBombError):
        return b""
    return buffer.getvalue()


def copied_beside(tree: Tree) -> None:
    """Copies have the names that file managers and editors give."""
    stem, ending = tree.chance.choice(
        (
            ("{} (1)", ""),
            ("Copy of {}", ""),
            ("{} - Copy", ""),
            ("{} 2", ""),
            ("{}", "~"),
            ("{}", ".orig"),
            ("._{}", ""),
        )
    )
    for path in some(tree, files(tree, *IMAGES)):
        copy = path.with_name(f"{stem.format(path.stem)}{path.suffix}{ending}")
        if len(os.fsencode(copy.name)) < 256 and not os.path.lexists(copy):
            shutil.copyfile(path, copy)
