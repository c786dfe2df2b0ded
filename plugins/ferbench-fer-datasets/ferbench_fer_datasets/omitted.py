"""What a reader leaves out for a reason that holds for every copy, told to its account."""

from pathlib import Path

from ferbench.contract.account import escaped
from ferbench.contract.dataset import Dataset


def omit(dataset: Dataset, path: Path, reason: str) -> None:
    """An image that was looked at and gives no sample."""
    dataset.account.use(path)
    dataset.account.ignore("image", path.relative_to(dataset.folder).as_posix(), reason)


def leave_label(dataset: Dataset, path: Path, pattern: str) -> None:
    """A file among those of labels that is not read, since it is not named as they are."""
    dataset.account.use(path)
    name = path.relative_to(dataset.folder).as_posix()
    dataset.account.leave("file", name, f"lies among labels, and is not named like {pattern}")


def leave_folder(dataset: Dataset, folder: Path, reason: str) -> None:
    """A folder whose images give no sample, or not all of them."""
    dataset.account.leave_files(escaped(folder.relative_to(dataset.folder).as_posix()), reason)
