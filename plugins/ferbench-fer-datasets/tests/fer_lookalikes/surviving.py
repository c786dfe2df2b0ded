"""What must be left of a copy after damage: the samples that it has not touched."""

import hashlib
from pathlib import Path
from typing import Any

from ferbench.contract.dataset import Dataset, Sample
from ferbench.readers.paths import ImageFiles

from fer_lookalikes.damaging import ARCHIVES, IMAGES, SECRET_SHADE, SECRET_SIZE, Tree
from fer_lookalikes.expected import grey_image, open_set

SECRETS = {hashlib.sha256(grey_image(SECRET_SHADE, kind, SECRET_SIZE)).hexdigest() for kind in ("JPEG", "PNG", "TIFF")}
"""Of the images outside."""
Known = dict[str, tuple[Sample, Any]]
"""By id a sample of the undamaged tree, and what a reader must still give of it."""


def opened(name: str, root: Path) -> Dataset:
    """The set that a reader makes of a folder, whatever is damaged."""
    dataset = open_set(name, root)
    dataset.on_bad_record = "skip"
    return dataset


def of_undamaged(name: str, root: Path) -> Known:
    """All that a reader gives."""
    samples = [sample for sample in opened(name, root).samples() if isinstance(sample, Sample)]
    return {sample.id: (sample, given(sample, root)) for sample in samples}


def given(sample: Sample, root: Path) -> tuple[object, ...]:
    """What a reader says of an image: its last part is the SHA-256 of the file."""
    content = hashlib.sha256(ImageFiles(root).read(sample)).hexdigest()
    return sample.split, sample.label, sample.subject, sample.video, sample.box, content


def survivors(tree: Tree, known: Known) -> set[str]:
    """The ids of samples that no damage has touched."""
    names = {sample_id: _names(sample) for sample_id, (sample, _) in known.items()}
    hurt: set[str] = set()
    for path in tree.touched:
        hurt |= _hurt_by_file(path, known, names)
    for path, number, line in tree.lines:
        hurt |= _hurt_by_line(tree, path, number, line, known, names)
    return known.keys() - hurt


def _names(sample: Sample) -> set[str]:
    """What a line, or the name of a file that belongs to a sample, would have of it."""
    image = sample.image.stem.removesuffix("_aligned") if isinstance(sample.image, Path) else sample.id
    return {image, sample.id.rpartition("/")[2], *([sample.video] if sample.video else [])}


def _hurt_by_file(path: Path, known: Known, names: dict[str, set[str]]) -> set[str]:
    if path.suffix.lower() in IMAGES:
        own = {key for key in known if _image(key, known) == path or path.as_posix().endswith(f"/{key}")}
        # Without one of its frames a sequence may be too short.
        return own | {key for key, (sample, _) in known.items() if sample.video and f"{sample.video}_" in path.stem}
    if path.suffix == ".parquet":
        return set(known)
    if path.suffix in ARCHIVES:
        return {key for key in known if f"/{path.name}/" in f"/{key}"}
    within = {key for key in known if (image := _image(key, known)) and path in image.parents}
    if not path.suffix and not path.is_file():
        return within
    beside = {key for key, own in names.items() if any(name in path.stem for name in own)}
    return within | beside or set(known)


def _image(key: str, known: Known) -> Path | None:
    image = known[key][0].image
    return image if isinstance(image, Path) else None


def _hurt_by_line(tree: Tree, path: Path, number: int, line: str, known: Known, names: dict[str, set[str]]) -> set[str]:
    beside = {key for key, own in names.items() if any(name in path.stem for name in own)}
    if beside:
        return beside
    if number == 1 or path.suffix == ".idx":
        return set(known)  # a header, or an index as a whole
    first = min(number, tree.moved.get(path, number))
    rows = {f"row{row:05d}" for row in (range(first - 2, 10**3) if path in tree.moved else [number - 2])}
    return {key for key, own in names.items() if key in rows or any(name in line for name in own)}
