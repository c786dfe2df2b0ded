"""The folder beside a record that is there while its cell runs; what an interrupted run goes on with."""

from pathlib import Path

IN_PROGRESS = "in-progress"
SAID, SNAPSHOTS = "said", "snapshots"


def said_file(folder: Path, epoch: int) -> Path:
    """What the method said of the unlabeled images of an epoch: `number`, `pseudo_label` and `mask`, (N,) each."""
    return folder / SAID / f"{epoch}.safetensors"


def snapshot_file(folder: Path, epoch: int) -> Path:
    """The net that is evaluated as it was at the end of an epoch."""
    return folder / SNAPSHOTS / f"{epoch}.safetensors"
