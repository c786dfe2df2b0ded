"""The folder that exists next to a record while its cell runs; an interrupted run resumes from it.

Its name ends with the token of the process that holds the cell's lease. So a paused process that wakes up after a
takeover cannot write into the folder of its successor.
"""

import os
import shutil
from pathlib import Path

IN_PROGRESS = "in-progress"
SAID, SNAPSHOTS = "said", "snapshots"


def folders_in_progress(cell: Path) -> list[Path]:
    """The folders in progress of a cell's folder: that of its owner, or those of killed processes."""
    return sorted(cell.glob(f"{IN_PROGRESS}*"))


def claim(cell: Path, token: str) -> Path:
    """Return a folder with the name of a new owner, which must hold the lease, and what earlier owners have left."""
    mine, left = cell / f"{IN_PROGRESS}-{token[:8]}", sorted(folders_in_progress(cell), key=_epochs_kept)
    if left:
        os.rename(left.pop(), mine)
    for folder in left:
        shutil.rmtree(folder, ignore_errors=True)
    mine.mkdir(exist_ok=True)
    return mine


def _epochs_kept(folder: Path) -> int:
    return len(list((folder / SAID).glob("*")))


def said_file(folder: Path, epoch: int) -> Path:
    """The file of the method's answers for the unlabeled images of an epoch: `number`, `pseudo_label`, `mask`, (N,)."""
    return folder / SAID / f"{epoch}.safetensors"


def snapshot_file(folder: Path, epoch: int) -> Path:
    """The file of the evaluated net as it was at the end of an epoch."""
    return folder / SNAPSHOTS / f"{epoch}.safetensors"
