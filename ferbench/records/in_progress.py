"""The folder that exists next to a record while its cell runs; an interrupted run resumes from it.

Its name is `in-progress-TOKEN`, with the token of the process that holds the cell's lease.
"""

from pathlib import Path

IN_PROGRESS = "in-progress"
SAID, SNAPSHOTS = "said", "snapshots"


def said_file(folder: Path, epoch: int) -> Path:
    """The file of the method's answers for the unlabeled images of an epoch: `number`, `pseudo_label`, `mask`, (N,)."""
    return folder / SAID / f"{epoch}.safetensors"


def snapshot_file(folder: Path, epoch: int) -> Path:
    """The file of the evaluated net as it was at the end of an epoch."""
    return folder / SNAPSHOTS / f"{epoch}.safetensors"
