"""What a look-alike tree holds, and what a registered reader makes of it.

Every module `lookalike_*.py` has a function `build(root)`: it writes a small tree in an official layout, with all its
traps and no damage, and returns the samples that are in it by the names of the data sets that read it. Each image is of
one shade of grey, so that it can be told from the others.
"""

import functools
import io
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from ferbench.contract.dataset import Damage, Dataset, Sample
from ferbench.registry import Entry
from ferbench_fer_datasets.plugin import ferbench_register_datasets


class Expected(NamedTuple):
    """One sample of a look-alike."""

    id: str
    split: str
    label: str | Mapping[str, float]
    shade: int
    box: tuple[float, float, float, float] | None = None


@functools.cache
def grey_image(shade: int, kind: str) -> bytes:
    """A grey image of 8 px as a file."""
    file = io.BytesIO()
    Image.new("L", (8, 8), shade).save(file, kind, **({"quality": 100} if kind == "JPEG" else {}))
    return file.getvalue()


def write_image(path: Path, shade: int, kind: str = "JPEG") -> None:
    """A grey image, whatever the name of the file says."""
    write(path, grey_image(shade, kind))


def write(path: Path, content: bytes | str) -> None:
    """A file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def open_set(name: str, root: Path) -> Dataset:
    """The data set that this distribution registers under a name."""
    targets: dict[str, str] = {}
    ferbench_register_datasets(lambda name, target, **texts: targets.update({name: target}))
    reader: type[Dataset] = Entry("datasets", name, targets[name], "", "", 1, "", "").load()
    return reader(root)


def read(name: str, root: Path) -> tuple[list[Expected], list[Damage]]:
    """All samples by split and id, and all damage."""
    entries = list(open_set(name, root).samples())
    samples = [_seen(entry) for entry in entries if isinstance(entry, Sample)]
    return sorted(samples, key=lambda s: (s.split, s.id)), [entry for entry in entries if isinstance(entry, Damage)]


def damage(name: str, root: Path) -> dict[str, str]:
    """Why entries give no sample, by where they stand."""
    found = read(name, root)[1]
    reasons = {entry.record: entry.reason for entry in found}
    assert len(reasons) == len(found), "one Damage per entry"
    return reasons


def replace_line(path: Path, number: int, line: str) -> None:
    """Put another line at a place, counted from 1."""
    lines = path.read_text("utf-8").split("\n")
    lines[number - 1] = line
    path.write_text("\n".join(lines), "utf-8")


def _seen(sample: Sample) -> Expected:
    with Image.open(io.BytesIO(sample.encoded())) as image:
        shade = image.convert("L").getpixel((image.width // 2, image.height // 2))
    return Expected(sample.id, sample.split, sample.label, shade, sample.box)  # type: ignore[arg-type]
