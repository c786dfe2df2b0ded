"""Add to a reader's account the files that it omits by its rule."""

from pathlib import Path

from ferbench.contract.account import escaped
from ferbench.contract.dataset import Dataset


def omit(dataset: Dataset, path: Path, reason: str) -> None:
    """Add an image that was read but gives no sample, as ignored."""
    dataset.account.use(path)
    dataset.account.ignore("image", path.relative_to(dataset.folder).as_posix(), reason)


def leave_label(dataset: Dataset, path: Path, pattern: str) -> None:
    """Add a file next to label files that is not read because its name differs, as unused."""
    dataset.account.use(path)
    name = path.relative_to(dataset.folder).as_posix()
    dataset.account.leave("file", name, f"is next to label files, but is not named like {pattern}")


def leave_folder(dataset: Dataset, folder: Path, reason: str) -> None:
    """Add a folder from which some or all images give no sample."""
    dataset.account.leave_files(escaped(folder.relative_to(dataset.folder).as_posix()), reason)
