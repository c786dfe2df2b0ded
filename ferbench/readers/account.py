"""The account of a whole set: what its reader says, and every file below the root that it has not touched."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ferbench.contract.account import Account, matching
from ferbench.contract.dataset import Damage, Dataset, Sample
from ferbench.readers.images import LOOKED_AT, unread_image
from ferbench.readers.paths import is_hidden
from ferbench.readers.streams import StreamedDataset
from ferbench.readers.text import suffix_of

NO_IMAGES = (
    *(".txt", ".csv", ".tsv", ".lst", ".list", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".toml", ".md", ".html"),
    *(".npy", ".npz", ".mat", ".pts", ".pkl", ".py", ".ipynb", ".pdf", ".doc", ".docx", ".db", ".log", ".idx", ".bin"),
    *(".zip", ".rar", ".7z", ".gz", ".tgz", ".tar", ".rec", ".parquet", ".arrow", ".mp4", ".avi", ".lock"),
)
"""Endings whose files are not looked into: there may be a million labels of one image each."""


def take_account(dataset: Dataset) -> Account:
    """Read the whole set once, without decoding, and say what has become of everything that it is given."""
    _ = dataset.info  # some readers go through all samples for it, which must not count twice
    account = dataset.account = Account(dataset.root, dataset.options.ignore)
    for entry in _entries(dataset):
        if isinstance(entry, Damage):
            _add_damage(account, entry)
            continue
        of_split = account.counts.setdefault(entry.split, {})
        label = _label(entry)
        of_split[label] = of_split.get(label, 0) + 1
        account.add("image", entry.id, "sample", entry.split)
        if isinstance(entry.image, Path):
            account.use(entry.image)
    if dataset.root is not None and dataset.root.is_dir():
        _Walk(dataset, account).run(dataset.root)
    return account


def _entries(dataset: Dataset) -> Iterator[Sample | Damage]:
    """The samples; of a stream without their bytes, which may take hours to read."""
    if not isinstance(dataset, StreamedDataset):
        yield from dataset.samples()
        return
    for shard in dataset.shards():
        for place in dataset.readable_places(shard):
            if isinstance(place, Damage):
                yield Damage(f"{shard}/{place.record}", place.reason)
            else:
                yield Sample(place.id, dataset.file(shard, place.id), "unlabeled")


def _label(sample: Sample) -> str:
    if isinstance(sample.label, Mapping):
        return max(sample.label, key=sample.label.__getitem__, default="unknown")
    return sample.label or "unknown"


def _add_damage(account: Account, damage: Damage) -> None:
    account.add("entry", damage.record, "damage", "gives no image; listed below")
    account.reasons[damage.record] = damage.reason
    if (label := damage.unknown_label) is not None:
        account.unknown_labels[label] = account.unknown_labels.get(label, 0) + 1


class _Walk:
    """Looks at every file below a root once; links to folders are not followed."""

    def __init__(self, dataset: Dataset, account: Account) -> None:
        self._data_suffixes, self._account = dataset.data_suffixes, account
        self._touched = np.unique(np.frombuffer(account.touched, np.int64))
        self._candidates: list[tuple[Path, str, str]] = []
        """Files that nobody has touched and that look like data: path, name and reason."""
        self._link_targets: set[str] = set()

    def run(self, root: Path) -> None:
        """Add every file that was not touched to the account."""
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
        keys = np.fromiter((self._account.key(folder / entry.name) for entry in entries), np.int64, len(entries))
        return np.isin(keys, self._touched)

    def _untouched(self, entry: os.DirEntry[str], below: str, root: str) -> None:
        """Say what becomes of a file, or of a link to a folder, that gives no sample."""
        account = self._account
        if (known := self._reason_of(below)) and known[0] == below:
            return  # it has its own line
        if any(is_hidden(part) for part in below.split("/")):
            account.ignore("file", below, "hidden, or left by an operating system")
        elif pattern := matching([pattern for pattern, _ in account.left], below):
            account.ignore("file", below, dict(account.left)[pattern])
        elif entry.is_symlink() and os.path.isdir(entry.path):
            self._link(entry, below, root)
        elif known:
            self._look(entry, below, known[1])
        else:
            self._look(entry, below, "")

    def _reason_of(self, below: str) -> tuple[str, str] | None:
        """Why a file, or a folder that it lies in, gives no sample, after its name."""
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
            self._account.ignore("file", below, "a link to a folder that is looked at where it lies")
        else:
            self._account.leave("file", below, "a link to a folder outside the root; put the folder itself there")

    def _look(self, entry: os.DirEntry[str], below: str, reason: str) -> None:
        """A file that gives no sample: unused where it looks like data."""
        name, account = entry.name.lower(), self._account
        if not _is_regular(entry):
            account.ignore("file", below, "no regular file")
        elif self._data_suffixes and name.endswith(self._data_suffixes):
            self._candidates.append((Path(entry.path), below, reason or "is not read"))
        elif unread := unread_image(name, b"" if name.endswith(NO_IMAGES) else _beginning(entry)):
            self._candidates.append((Path(entry.path), below, reason or unread))
        else:
            account.ignore("file", below, f"no image: *{suffix_of(name)}" if suffix_of(name) else "no image")


def _is_regular(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link to itself
        return False


def _beginning(entry: os.DirEntry[str]) -> bytes:
    try:
        with open(os.open(entry.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW), "rb") as file:
            return file.read(LOOKED_AT)
    except OSError:
        return b""
