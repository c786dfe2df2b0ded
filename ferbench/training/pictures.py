"""Pictures of a stage's last batch, for the report."""

from pathlib import Path

import torch
from torch import Tensor

from ferbench.training.checkpoint import Checkpoint, write_checkpoint
from ferbench.training.run import Run
from ferbench.training.stages import PlannedStage, stage_batches

SHOWN = 7  # pictures in a row of the report


@torch.no_grad()
def pictures_of(run: Run, planned: PlannedStage) -> dict[str, Tensor]:
    """Rows (N, S, S, 3) uint8 by title; empty for a stage that shows nothing."""
    if planned.stage.show is None:
        return {}
    batch = stage_batches(run, planned).at(planned.steps - 1)
    run.net.eval()
    rows = planned.stage.show(batch)
    return {title: run.task.maker.pictures(images[:SHOWN]) for title, images in rows.items()}


def write_pictures(folder: Path, planned: PlannedStage, pictures: dict[str, Tensor]) -> None:
    """Write the pictures to a file beside the record."""
    if pictures:
        path = folder / f"pictures-{planned.stage.name}.safetensors"
        write_checkpoint(path, Checkpoint({title: rows.contiguous() for title, rows in pictures.items()}))
