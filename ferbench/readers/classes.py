"""Names of expressions: their spellings in layouts, and folders with such names."""

from collections.abc import Callable, Iterator
from difflib import get_close_matches
from pathlib import Path

from ferbench.contract.dataset import EIGHT_CLASSES, Damage
from ferbench.errors import suggestion
from ferbench.readers.damage import UnknownLabel, damage_of
from ferbench.readers.paths import holds_images, image_files, inside, is_folder, visible
from ferbench.readers.text import MAX_QUOTED, quoted

CODES = {
    "ha": "happiness",
    "sa": "sadness",
    "su": "surprise",
    "af": "fear",
    "fe": "fear",
    "di": "disgust",
    "an": "anger",
    "ne": "neutral",
}
"""The codes of KDEF and JAFFE, which differ only for fear: KDEF has AF, JAFFE has FE."""

WORDS = {
    **{name: name for name in (*EIGHT_CLASSES, "other")},
    "happy": "happiness",
    "joy": "happiness",
    "sad": "sadness",
    "surprised": "surprise",
    "afraid": "fear",
    "fearful": "fear",
    "disgusted": "disgust",
    "angry": "anger",
    "contemptuous": "contempt",
}

ALIASES = {**WORDS, **CODES}


def class_name(text: str) -> str:
    """The canonical name of a class in any known spelling; raises UnknownLabel for other texts."""
    name = text.strip().lower()
    if name not in ALIASES:
        reason = f"{quoted(text.strip())} is not an expression{suggestion(name[:MAX_QUOTED], WORDS)}"
        raise UnknownLabel(text.strip()[:MAX_QUOTED], reason)
    return ALIASES[name]


def nearest_class(text: str) -> str:
    """The class whose name is similar to a text, which may begin with a number (`0_angry`, `suprise`), or ""."""
    word = text.strip().lower().lstrip("0123456789_-. ()")
    return WORDS.get(word) or next((WORDS[near] for near in get_close_matches(word, WORDS, n=1, cutoff=0.7)), "")


def class_folders(
    root: Path, folder: Path, name_of: Callable[[str], str] = class_name
) -> Iterator[tuple[str, tuple[Path, str]] | Damage]:
    """The images of a folder with one folder per class: name relative to `root`, path and class.

    Yields Damage for anything that would otherwise be ignored: unknown folder names, links that leave `root`, stray
    images, and nested folders with images.
    """
    try:
        inside(root, folder)
    except ValueError as error:
        yield Damage(str(folder.relative_to(root)), str(error))
        return
    for path in image_files(folder):
        if not path.is_dir():
            yield Damage(str(path.relative_to(root)), "is not in a class folder; move it into the folder of its class")
    for inner in (Path(entry) for entry in visible(folder) if is_folder(entry)):
        try:
            inside(root, inner)
            name = name_of(inner.name)
        except (OSError, ValueError) as error:
            yield damage_of(str(inner.relative_to(root)), error)
            continue
        yield from ((str(path.relative_to(root)), (path, name)) for path in image_files(inner))
        for nested in (Path(entry) for entry in visible(inner) if is_folder(entry)):
            # Links are not searched: they may lead to the whole disk.
            if inner.is_symlink() or nested.is_symlink() or holds_images(nested):
                reason = "is not read because it is inside a class folder; move its images up into the class folder"
                yield Damage(str(nested.relative_to(root)), reason)
