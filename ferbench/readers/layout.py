"""Readers of official layouts: they look for files and folders by name, and remember what they have found."""

from collections.abc import Mapping
from pathlib import Path

from ferbench.contract.dataset import Dataset
from ferbench.readers.paths import find, require, require_one


class LayoutReader(Dataset):
    """A dataset whose files and folders are looked for below its root.

    `found` are the paths that were found so far, in order, for people: it shows which of several layouts is read.
    """

    def __init__(self, root: Path | None = None, name: str | None = None) -> None:
        super().__init__(root, name)
        self.found: dict[Path, None] = {}

    def find(self, *names: str, within: Path | None = None, depth: int = 2) -> Path | None:
        """What `paths.find` finds in a folder, the root if none is given."""
        path = find(within or self.folder, *names, depth=depth)
        return None if path is None else self._remember(path)

    def require(
        self,
        *names: str,
        within: Path | None = None,
        depth: int = 2,
        hint: str = "",
        others: Mapping[str, str] | None = None,
    ) -> Path:
        """What `paths.require` finds in a folder, the root if none is given."""
        return self._remember(require(within or self.folder, *names, depth=depth, hint=hint, others=others))

    def require_one(self, *names: str, depth: int = 2, hint: str = "") -> Path:
        """What `paths.require_one` finds below the root."""
        return self._remember(require_one(self.folder, *names, depth=depth, hint=hint))

    def _remember(self, path: Path) -> Path:
        self.found[path] = None
        return path
