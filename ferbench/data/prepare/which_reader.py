"""Find the readers that fit a folder by trying all of them."""

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile
from pathlib import Path

from ferbench.contract.dataset import Damage, Dataset, Sample
from ferbench.data.prepare.registered_copies import open_reader
from ferbench.discovery.registry import Entry, Registry
from ferbench.errors import DataError, FerbenchError
from ferbench.readers.classes import nearest_class
from ferbench.readers.paths import subfolders, visible
from ferbench.readers.streams import StreamedDataset

TRIED = 200
"""Most entries of a folder on which a reader is tried."""
MAX_NAMED = 3
MAX_DESCENTS = 3


@dataclass(frozen=True)
class Fit:
    """A reader that reads samples from a folder."""

    entry: Entry
    needs_name: bool
    family: str
    labeled: bool
    streamed: bool

    def command(self, registry: Registry, folder: Path) -> str:
        """The command that prepares the folder with this reader."""
        words = ["ferbench", "prepare", self.entry.name, "--root", str(folder)]
        return shlex.join([*words, "--name", _name(registry, folder)] if self.needs_name else words)


@dataclass(frozen=True)
class _Tried:
    """A reader's result for the first entries of its root: numbers of read and damaged ones, and a reason."""

    read: int
    damaged: int
    labeled: bool
    reason: str


def prepare_commands(registry: Registry, folder: Path, like: str = "") -> list[str]:
    """Commands that prepare a folder, the most likely first, one for each published dataset; empty if none fits.

    Each command is followed by the summary of its reader. Readers of published layouts come before readers of the
    user's own images; pools are named only if no reader finds labels. Among the readers of one dataset, the one whose
    name ends like `like` is chosen, otherwise the one registered first. A folder that contains only one folder stands
    for that folder.
    """
    return _commands(registry, _fits(registry, folder, like))


def _commands(registry: Registry, fits: Sequence[tuple[Fit, Path]]) -> list[str]:
    return [f"`{fit.command(registry, place)}` ({fit.entry.summary})" for fit, place in fits]


def _fits(registry: Registry, folder: Path, like: str) -> list[tuple[Fit, Path]]:
    """The readers that fit, each with the folder to give to it."""
    pools: list[tuple[Fit, Path]] = []
    for place in _descents(folder):
        fits = [fit for entry in registry.entries["datasets"].values() if (fit := _fit(entry, place))]
        labeled = [fit for fit in fits if fit.labeled]
        first = [(fit, place) for fit in _one_of_each(labeled or fits, like)][:MAX_NAMED]
        if labeled:
            return first
        pools = pools or first
    return pools


def check_layout(registry: Registry, name: str, reader: Dataset) -> None:
    """Raises DataError with another reader's command if this reader reads nothing from its root and that one does.

    A pool, which accepts any image, is not named in place of a reader of labels: the reader's own error says more.
    """
    if reader.root is None or not reader.root.is_dir() or reader.marks or (tried := _try(reader)).read:
        return
    others = [
        pair for pair in _fits(registry, reader.root, name) if (pair[0].entry.name, pair[1]) != (name, reader.root)
    ]
    if not isinstance(reader, StreamedDataset):
        others = [(fit, place) for fit, place in others if fit.labeled]
    if others:
        raise DataError(f"{tried.reason}; to read this folder, run {' or '.join(_commands(registry, others))}")


def _descents(folder: Path) -> Iterator[Path]:
    yield folder
    for _ in range(MAX_DESCENTS):
        inner = subfolders(folder)
        if len(inner) != 1 or len(visible(folder)) != 1:
            return
        folder = inner[0]
        yield folder


def _fit(entry: Entry, folder: Path) -> Fit | None:
    """The fit of a reader to a folder, or None."""
    try:
        kind = entry.load()
        if not getattr(kind, "needs_root", False):
            return None
        reader = open_reader(entry, folder, "any" if kind.needs_name else None)
        if reader.marks:
            fits = labeled = any(path.is_file() for mark in reader.marks for path in folder.glob(mark))
        else:
            tried = _try(reader)
            fits, labeled = tried.read > tried.damaged, tried.labeled
        if not fits:
            return None
        family = entry.name if kind.needs_name else reader.info.family
        return Fit(entry, kind.needs_name, family, labeled, isinstance(reader, StreamedDataset))
    except Exception:  # a plugin's reader may raise anything; the error is shown when the user names that reader
        return None


def _try(reader: Dataset) -> _Tried:
    """Try a reader on its root."""
    try:
        entries = list(islice(reader.samples(), TRIED))
    except (FerbenchError, OSError, ValueError) as error:
        return _Tried(0, 1, False, str(error))
    samples = [entry for entry in entries if isinstance(entry, Sample)]
    damages = [entry for entry in entries if isinstance(entry, Damage)]
    # `0_angry` and `suprise` can be read if the user agrees; `prepare` says how. A single one may be anything (`fer`).
    near = [name for damage in damages if (name := nearest_class(damage.unknown_label or ""))]
    labels = {str(sample.label) for sample in samples if sample.label is not None}
    nearly = len(near) if len({*near, *labels}) > 1 else 0
    labeled = nearly > 0 or bool(labels)
    reason = f"{reader.root}: {damages[0] if damages else 'no usable image here'}"
    return _Tried(len(samples) + nearly, len(damages) - nearly, labeled, reason)


def _one_of_each(fits: Sequence[Fit], like: str) -> list[Fit]:
    """The first reader of each published dataset; then the readers of the user's own images, pools first."""
    families: dict[str, Fit] = {}
    for fit in sorted(fits, key=lambda fit: (fit.needs_name, not fit.streamed, -_same_ending(fit.entry.name, like))):
        families.setdefault(fit.family, fit)
    return list(families.values())


def _same_ending(name: str, other: str) -> int:
    """Number of equal words at the ends of two names: `ferplus-argmax` and `ferplus-label-csv-argmax` have one."""
    pairs = zip(reversed(name.split("-")), reversed(other.split("-")), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _name(registry: Registry, folder: Path) -> str:
    """A name for the dataset in a folder, derived from the folder's name."""
    name = re.sub("[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-")[:40].strip("-") or "faces"
    return f"my-{name}" if name in registry.names("datasets") else name
