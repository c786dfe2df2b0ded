"""Which reader fits a folder: all are tried, so what is named here reads what lies there."""

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
from ferbench.readers.paths import subfolders, visible
from ferbench.readers.streams import StreamedDataset

TRIED = 200
"""Entries of a folder that a reader is tried on."""
MAX_NAMED = 3
MAX_DESCENTS = 3


@dataclass(frozen=True)
class Fit:
    """A reader that makes samples of a folder."""

    entry: Entry
    needs_name: bool
    family: str
    labeled: bool
    streamed: bool

    def command(self, registry: Registry, folder: Path) -> str:
        """The command that prepares the folder with it."""
        words = ["ferbench", "prepare", self.entry.name, "--root", str(folder)]
        return shlex.join([*words, "--name", _name(registry, folder)] if self.needs_name else words)


def prepare_commands(registry: Registry, folder: Path, like: str = "") -> list[str]:
    """Commands that prepare a folder, the most likely first, one for each published set; empty where none fits.

    Each is followed by what its reader says of itself. Readers of published layouts come before readers of anybody's
    images, pools are named only where no labels are read. Of one set the reader comes first whose name ends `like`
    another, else the one that is registered first. A folder that holds nothing but another folder stands for that one.
    """
    pools: list[str] = []
    for place in _descents(folder):
        fits = [fit for entry in registry.entries["datasets"].values() if (fit := _fit(entry, place))]
        labeled = [fit for fit in fits if fit.labeled]
        first = _one_of_each(labeled or fits, like)[:MAX_NAMED]
        commands = [f"`{fit.command(registry, place)}` ({fit.entry.summary})" for fit in first]
        if labeled:
            return commands
        pools = pools or commands
    return pools


def check_layout(registry: Registry, name: str, reader: Dataset) -> None:
    """Raises DataError where a reader makes nothing of its root that another one reads, naming the other's command."""
    if reader.root is None or not reader.root.is_dir() or reader.marks:
        return
    tried = _try(reader)
    if isinstance(tried, str) and (commands := prepare_commands(registry, reader.root, name)):
        raise DataError(f"{tried}; what lies there is read by {' or '.join(commands)}")


def _descents(folder: Path) -> Iterator[Path]:
    yield folder
    for _ in range(MAX_DESCENTS):
        inner = subfolders(folder)
        if len(inner) != 1 or len(visible(folder)) != 1:
            return
        folder = inner[0]
        yield folder


def _fit(entry: Entry, folder: Path) -> Fit | None:
    """What a reader is to a folder, None where it does not fit."""
    try:
        kind = entry.load()
        if not getattr(kind, "needs_root", False):
            return None
        reader = open_reader(entry, folder, "any" if kind.needs_name else None)
        labeled: bool | str = any((folder / mark).is_file() for mark in reader.marks) if reader.marks else _try(reader)
        if isinstance(labeled, str) or (reader.marks and not labeled):
            return None
        family = entry.name if kind.needs_name else reader.info.family
        return Fit(entry, kind.needs_name, family, labeled, isinstance(reader, StreamedDataset))
    except Exception:  # of a stranger's reader, whose faults are for whoever asks for it
        return None


def _try(reader: Dataset) -> bool | str:
    """Whether a reader reads labels, or why it makes nothing of its root: most of the first entries are no samples."""
    try:
        entries = list(islice(reader.samples(), TRIED))
    except (FerbenchError, OSError, ValueError) as error:
        return str(error)
    samples = [entry for entry in entries if isinstance(entry, Sample)]
    damages = [entry for entry in entries if isinstance(entry, Damage)]
    if len(samples) > len(damages):
        return any(sample.label is not None for sample in samples)
    return f"{reader.root}: {damages[0] if damages else 'nothing here gives an image'}"


def _one_of_each(fits: Sequence[Fit], like: str) -> list[Fit]:
    """Of readers of one published set the first; readers of anybody's images come last, and of these pools first."""
    families: dict[str, Fit] = {}
    for fit in sorted(fits, key=lambda fit: (fit.needs_name, not fit.streamed, -_same_ending(fit.entry.name, like))):
        families.setdefault(fit.family, fit)
    return list(families.values())


def _same_ending(name: str, other: str) -> int:
    """How many words two names end with alike: `ferplus-argmax` and `ferplus-label-csv-argmax` mean one rule."""
    pairs = zip(reversed(name.split("-")), reversed(other.split("-")), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _name(registry: Registry, folder: Path) -> str:
    """A name for the set in a folder, as a person may give it."""
    name = re.sub("[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-")[:40].strip("-") or "faces"
    return f"my-{name}" if name in registry.names("datasets") else name
