"""What a look-alike holds, and what a registered reader makes of it.

Each image is of one shade of grey, so that it can be told from the others.
"""

import functools
import io
import types
import zlib
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from ferbench.contract.dataset import Damage, Dataset, Sample
from ferbench.data.prepare.registered_copies import open_reader
from ferbench.discovery.loader import load_registry
from ferbench.readers.paths import ImageFiles


class EntryPoint:
    """This distribution's, installed or not."""

    name = "fer-datasets"
    dist = types.SimpleNamespace(name="ferbench-fer-datasets", version="0")

    def load(self) -> object:
        return import_module("ferbench_fer_datasets.plugin")


REGISTRY = load_registry({}, [EntryPoint()])  # type: ignore[list-item]
KINDS = {".png": "PNG", ".tiff": "TIFF"}


class Expected(NamedTuple):
    """One sample of a look-alike."""

    id: str
    split: str
    label: str | Mapping[str, float] | None
    shade: int
    subject: str | None = None
    video: str | None = None
    box: tuple[float, float, float, float] | None = None


def shade_of(name: str) -> int:
    """The shade of an image that gets none: the name of its file decides."""
    return zlib.crc32(Path(name).name.encode()) % 256


@functools.cache
def grey_image(shade: int, kind: str = "JPEG", size: tuple[int, int] = (8, 8)) -> bytes:
    """A grey image as a file."""
    file = io.BytesIO()
    Image.new("L", size, shade).save(file, kind, **({"quality": 100} if kind == "JPEG" else {}))
    return file.getvalue()


def write_image(path: Path, shade: int | None = None, kind: str = "", size: tuple[int, int] = (8, 8)) -> None:
    """A grey image; with `kind` whatever the name of the file says."""
    kind = kind or KINDS.get(path.suffix.lower(), "JPEG")
    write(path, grey_image(shade_of(path.name) if shade is None else shade, kind, size))


def write(path: Path, content: bytes | str = "") -> None:
    """A file, with line ends as they are, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def open_set(name: str, root: Path) -> Dataset:
    """The dataset that a registered reader makes of a folder; that of anybody's images is called `mine`."""
    return open_reader(REGISTRY.get("datasets", name), root, "mine")


def read(name: str, root: Path) -> tuple[list[Expected], list[Damage]]:
    """All samples and all damage, in the order of the reader."""
    entries = list(open_set(name, root).samples())
    samples = [_seen(entry) for entry in entries if isinstance(entry, Sample)]
    return samples, [entry for entry in entries if isinstance(entry, Damage)]


def by_id(samples: Iterable[Expected]) -> list[Expected]:
    """Samples in the order of splits and ids."""
    return sorted(samples, key=lambda sample: (sample.split, sample.id))


def damage(name: str, root: Path) -> dict[str, str]:
    """Why entries give no sample, by where they stand."""
    found = [entry for entry in open_set(name, root).samples() if isinstance(entry, Damage)]
    reasons = {entry.record: entry.reason for entry in found}
    assert len(reasons) == len(found), "one Damage per entry"
    return reasons


def replace_line(path: Path, number: int, line: str) -> None:
    """Put another line at a place, counted from 1."""
    lines = path.read_text("utf-8").split("\n")
    lines[number - 1] = line
    path.write_text("\n".join(lines), "utf-8")


def _seen(sample: Sample) -> Expected:
    with Image.open(io.BytesIO(ImageFiles(None).read(sample))) as image:
        shade = image.convert("L").getpixel((image.width // 2, image.height // 2))
    label = dict(sample.label) if isinstance(sample.label, Mapping) else sample.label
    return Expected(sample.id, sample.split, label, shade, sample.subject, sample.video, sample.box)  # type: ignore[arg-type]
