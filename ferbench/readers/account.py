"""The account of a whole dataset: the entries of its reader, and every file below the root that it did not read."""

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ferbench.contract.account import Account, matching
from ferbench.contract.dataset import Damage, Dataset, Sample
from ferbench.errors import DataError, listed
from ferbench.readers.archives import BEGINNING, is_archive, look_into
from ferbench.readers.description import DESCRIPTION
from ferbench.readers.images import unread_image
from ferbench.readers.paths import IMAGE_SUFFIXES, is_hidden
from ferbench.readers.streams import StreamedDataset
from ferbench.readers.text import suffix_of

LABELS = (".txt", ".csv", ".json", ".xml", ".npy", ".mat", ".pts")
"""Suffixes of which only `SOME` files are opened: there may be a million files with the labels of one image each."""
SOME = 100


def take_account(dataset: Dataset) -> Account:
    """Read the whole dataset once, without decoding, and return what became of each of its files and entries."""
    with readable(dataset):
        _ = dataset.info  # some readers iterate over all samples for it, which must not be counted twice
        account = dataset.account = Account(dataset.root, dataset.options.ignore or dataset.account.patterns)
        _add_entries(dataset, account)
    add_files(dataset)
    return account


def add_files(dataset: Dataset) -> None:
    """Add every file below the root that the reader, which has finished, did not read."""
    if dataset.root is not None and dataset.root.is_dir():
        _Walk(dataset, dataset.account).run(dataset.root)
    dataset.account.is_complete = True


def unused_lines(account: Account) -> list[str]:
    """The unused files and entries that look like data, one line per reason."""
    return [f"{line.count:,} {line.what}: {', '.join(line.examples)}: {line.reason}" for line in account.unused()]


def refuse_unused(dataset: Dataset) -> None:
    """Raises DataError if a part of the dataset looks like data and is not used; the account must be complete."""
    if lines := unused_lines(dataset.account):
        raise DataError(
            f"{dataset.root}: {dataset.account.count('unused'):,} parts look like data and are not used; move them "
            f'away, or write "ignore": [PATTERN, ...] into its {DESCRIPTION}:{listed(lines)}'
        )


@contextmanager
def readable(dataset: Dataset) -> Iterator[None]:
    """A block that reads the source of a dataset; an OSError becomes a DataError that names the file."""
    try:
        yield
    except OSError as error:
        what = f"{error.filename or dataset.root}: cannot be read ({error.strerror or error})"
        raise DataError(f"{what}; make it readable, or remove it") from None


def _add_entries(dataset: Dataset, account: Account) -> None:
    for entry in _entries(dataset):
        if isinstance(entry, Damage):
            _add_damage(account, entry)
            continue
        of_split = account.counts.setdefault(entry.split, {})
        label = entry.class_name or "unknown"
        of_split[label] = of_split.get(label, 0) + 1
        account.add("image", entry.id, "sample", entry.split)
        if isinstance(entry.image, Path):
            account.use(entry.image)


def _entries(dataset: Dataset) -> Iterator[Sample | Damage]:
    """The samples; those of a stream without their bytes, which may take hours to read."""
    if not isinstance(dataset, StreamedDataset):
        yield from dataset.samples()
        return
    for shard in dataset.shards():
        for place in dataset.readable_places(shard):
            if isinstance(place, Damage):
                dataset.account.use(dataset.file(shard, place.record))
                yield Damage(f"{shard}/{place.record}", place.reason)
            else:
                yield Sample(place.id, dataset.file(shard, place.id), "unlabeled")


def _add_damage(account: Account, damage: Damage) -> None:
    account.add("entry", damage.record, "damage", "could not be used; listed below")
    account.reasons[damage.record] = damage.reason
    if (label := damage.unknown_label) is not None:
        account.unknown_labels[label] = account.unknown_labels.get(label, 0) + 1


class _Walk:
    """Looks at every file below a root once; links to folders are not followed."""

    def __init__(self, dataset: Dataset, account: Account) -> None:
        self._data_suffixes, self._account = dataset.data_suffixes, account
        self._touched = np.unique(np.frombuffer(account.touched, np.int64))
        self._candidates: list[tuple[Path, str, str]] = []
        """Files that the reader did not read and that look like data: path, name and reason."""
        self._link_targets: set[str] = set()
        self._looked_into: Counter[str] = Counter()

    def run(self, root: Path) -> None:
        """Add every file that the reader did not read to the account."""
        real_root = os.path.realpath(root)
        folders = [(Path(real_root), "")]
        while folders:
            folder, name = folders.pop()
            try:
                with os.scandir(folder) as found:
                    entries = sorted(found, key=lambda entry: entry.name)
            except OSError as error:
                self._account.leave("folder", name.rstrip("/"), f"cannot be listed ({error.strerror or error})")
                continue
            is_touched = self._touched_among(folder, entries)
            for entry, touched in zip(entries, is_touched, strict=True):
                below = f"{name}{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    folders.append((folder / entry.name, f"{below}/"))
                elif touched:
                    if entry.is_symlink():
                        self._link_targets.add(os.path.realpath(entry.path))
                else:
                    self._untouched(entry, below, real_root)
        for path, below, reason in self._candidates:
            if os.fspath(path) not in self._link_targets:
                self._account.leave("file", below, reason)

    def _touched_among(self, folder: Path, entries: list[os.DirEntry[str]]) -> NDArray[np.bool_]:
        where = os.fspath(folder)
        keys = np.fromiter((Account.key_in(where, entry.name) for entry in entries), np.int64, len(entries))
        return np.isin(keys, self._touched)

    def _untouched(self, entry: os.DirEntry[str], below: str, root: str) -> None:
        """Add a file or a link without a sample to the account."""
        account, name = self._account, entry.name.lower()
        if (known := self._reason_of(below)) and known[0] == below:
            return  # the account has it already
        if any(is_hidden(part) for part in below.split("/")):
            account.ignore("file", below, "hidden, or left by an operating system")
        elif name.endswith(IMAGE_SUFFIXES) and (pattern := matching([pattern for pattern, _ in account.left], below)):
            account.ignore("file", below, dict(account.left)[pattern])
        elif entry.is_symlink():
            self._link(entry, below, root)
        elif known:
            self._look(entry, below, known[1])
        else:
            self._look(entry, below, "")

    def _reason_of(self, below: str) -> tuple[str, str] | None:
        """Name and reason of this file or the nearest folder above it, if the account lists it as damaged."""
        while below:
            if below in self._account.reasons:
                return below, self._account.reasons[below]
            below = below.rpartition("/")[0]
        return None

    def _link(self, entry: os.DirEntry[str], below: str, root: str) -> None:
        target = os.path.realpath(entry.path)
        if target in self._account.folders.values():
            return
        if Path(target).is_relative_to(root):
            self._account.ignore("file", below, "a link to a file or folder below the root, which is read there")
        elif os.path.isdir(target):
            self._account.leave("file", below, "a link to a folder outside the root; put the folder itself there")
        elif os.path.isfile(target) and self._is_data(entry.name.lower()):
            self._account.leave("file", below, "a link to a file outside the root; put the file itself there")
        else:
            self._account.ignore("file", below, "a link to something that is not an image")

    def _is_data(self, name: str) -> bool:
        """Whether the name of a file, in lower case, looks like data."""
        return bool(name.endswith(self._data_suffixes) or unread_image(name) or is_archive(name))

    def _look(self, entry: os.DirEntry[str], below: str, reason: str) -> None:
        """Add a file without a sample: as unused if it looks like data, otherwise as ignored."""
        name, account = entry.name.lower(), self._account
        if not entry.is_file(follow_symlinks=False):
            account.ignore("file", below, "not a regular file")
            return
        try:
            beginning = self._beginning(entry.path, suffix_of(name))
        except OSError as error:
            account.leave("file", below, f"cannot be read ({error.strerror})")
            return
        if name.endswith(self._data_suffixes):
            self._candidates.append((Path(entry.path), below, reason or "is not read"))
        elif unread := unread_image(name, beginning):
            self._candidates.append((Path(entry.path), below, reason or unread))
        elif is_archive(name, beginning):
            outcome, why = look_into(Path(entry.path), beginning)
            (account.leave if outcome == "unused" else account.ignore)("file", below, why)
        else:
            account.ignore("file", below, f"not an image: *{suffix_of(name)}" if suffix_of(name) else "not an image")

    def _beginning(self, path: str, ending: str) -> bytes:
        """The first bytes of a file; empty for files with labels after the first `SOME` ones."""
        self._looked_into[ending] += 1
        if ending in LABELS and self._looked_into[ending] > SOME:
            return b""
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW), "rb") as file:
            return file.read(BEGINNING)
