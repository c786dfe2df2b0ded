"""Readers of official layouts: they search files and folders by name, and remember what they found."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from ferbench.contract.dataset import Damage, Dataset
from ferbench.errors import DataError
from ferbench.readers.classes import class_name
from ferbench.readers.columns import NAMELESS, UnreadColumns
from ferbench.readers.paths import inside, subfolders
from ferbench.readers.splits import split_name
from ferbench.readers.tables import read_table

MAX_FOLDERS = 1000


class LayoutReader(Dataset):
    """A dataset whose files and folders are searched below its root.

    `found` are the paths found so far, in order; shown to the user, they say which of several layouts is read.
    """

    def __init__(self, root: Path | None = None, name: str | None = None) -> None:
        super().__init__(root, name)
        self.found: dict[Path, None] = {}

    def find(self, *names: str, within: Path | None = None, depth: int = 2) -> Path | None:
        """The first of `names` (relative paths) that exists in a folder, or up to `depth` folders below; else None.

        The search begins in `within`, or in the root if None, and nearer paths come first. Hidden folders and links are
        not searched. Raises DataError if the path leads out of the root through links.
        """
        path = next(_places(within or self.folder, names, depth), None)
        if path is not None:
            try:
                inside(self.folder, path)
            except ValueError as error:
                raise DataError(str(error)) from None
            self.found[path] = None
            if path.is_file():
                self.account.use(path, "list")
        return path

    def require(self, *names: str, within: Path | None = None, depth: int = 2, hint: str = "") -> Path:
        """The path that `find` returns; raises DataError that names all `names` and the remedy `hint`.

        A hint does not name other readers: `ferbench prepare` asks all of them and names one that fits.
        """
        if found := self.find(*names, within=within, depth=depth):
            return found
        root = within or self.folder
        missing = f"no {' or '.join(names)} here{f' or up to {depth} folders below' if depth else ''}"
        raise DataError(f"{root}: {missing}{hint and '; '}{hint}")

    def table(
        self,
        path: Path,
        columns: Sequence[str],
        *,
        header: bool = True,
        hint: str = "",
        passed_over: Mapping[str, str] = MappingProxyType({}),
    ) -> Iterator[tuple[str, Mapping[str, str]] | Damage]:
        """The rows of a list as `read_table` yields them; all other columns are added to the account.

        `passed_over` are columns of the published list that this reader does not need, each with the reason.
        """
        unread = UnreadColumns(name.lower() for name in columns)
        for entry in read_table(self.folder, path, columns, header=header, hint=hint):
            if not isinstance(entry, Damage):
                unread.look(entry[1])
            yield entry
        for name, kind in unread.kinds(class_name, split_name).items():
            if reason := passed_over.get(name):
                self.account.ignore("column", name, reason)
            elif kind:
                self.account.leave("column", name or NAMELESS, f"looks like {kind}s, but is not read")
            else:
                self.account.ignore("column", name or NAMELESS, f"is not needed from {path.name}")

    def require_one(self, *names: str, depth: int = 2, hint: str = "") -> Path:
        """The path that `require` returns; raises DataError also if there are several, which may be different data."""
        found = list(_places(self.folder, names, depth))
        if len(found) > 1:
            places = ", ".join(str(path.relative_to(self.folder)) for path in found)
            raise DataError(f"{self.folder}: found {places}, but only one is read; move the others out of --root")
        return self.require(*names, depth=depth, hint=hint)


def _places(root: Path, names: Sequence[str], depth: int) -> Iterator[Path]:
    folders = [root]
    for level in range(depth + 1):
        if level:
            folders = [inner for folder in folders for inner in subfolders(folder)][:MAX_FOLDERS]
        # Not Path.exists, which raises if a folder may not be searched.
        yield from (folder / name for folder in folders for name in names if os.path.exists(folder / name))
