"""What the process that knows the labels gives to the process that trains, and what it gets back.

This module needs neither torch nor method code. While a cell runs, these files are in the folder `in-progress-*` beside
its record:
    facts.json, labeled.npz, unlabeled.npz ...    the drawn rows, with labels only for the labeled images
    said/3.safetensors                            what the method said of the unlabeled images of epoch 3
    snapshots/3.safetensors                       the net that was evaluated after epoch 3
    test.npz                                      the test images, in a hashed order; written when training is over
    logits.npy                                    logits of the snapshots and the trained net for these images
    report.json                                   how training ended, and what it cost
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ferbench.contract.events import EpochRow
from ferbench.contract.strict import Strict
from ferbench.records.files import write_atomic
from ferbench.records.schema import ErrorReport, Fingerprints, Measured, RecordConfig, Result, Status
from ferbench.records.store import MODEL

FACTS, TEST, LOGITS, REPORT = "facts.json", "test.npz", "logits.npy", "report.json"


@dataclass(frozen=True)
class ImageRows:
    """The places of the pixels of N stored images. It holds no labels, except for labeled images.

    `stores` are packed folders, `store` (N,) int8 is the number of each image's folder, and `row` (N,) int32 its row
    there. Images with number -1 come last; they are rows of the stream whose `index` is a folder. `boxes` (M, 4)
    float32 are the faces in pixels, for images in packed folders. `numbers` (N,) int32 identify the images for a
    method. They are a permutation: images may be in the order of their ids, and in folders of classes this order
    reveals the class.
    """

    stores: NDArray[np.str_]
    store: NDArray[np.int8]
    row: NDArray[np.int32]
    boxes: NDArray[np.float32]
    numbers: NDArray[np.int32]
    index: NDArray[np.str_] | None = None
    labels: NDArray[np.int64] | None = None
    label_probs: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.row)

    def write(self, path: Path) -> None:
        """Write the arrays, atomically."""
        buffer = io.BytesIO()
        np.savez(buffer, **{name: value for name, value in vars(self).items() if value is not None})
        write_atomic(path, buffer.getvalue())

    @classmethod
    def read(cls, path: Path) -> "ImageRows":
        """The inverse of `write`."""
        with np.load(path, allow_pickle=False) as arrays:
            return cls(**arrays)


class CellFacts(Strict):
    """What the trainer is told of its cell besides rows. `model` is the file of a trained net that is only tested."""

    n_labeled: int
    n_validation: int
    n_unlabeled: int | None
    labeled_counts: dict[str, int]
    fingerprints: Fingerprints
    began: float
    """When the work on the cell began, on the machine's monotonic clock, which all processes share."""
    lease: str = ""
    """The token of the lease under which the trainer writes next to the record."""
    pretraining_images: str = ""
    model: str | None = None
    model_digest: str = ""

    @classmethod
    def of_trained(cls, result: Result, fingerprints: Fingerprints, model: Path, began: float) -> Self:
        """The facts of a cell whose trained net is in a file; `fingerprints` belong to its training data."""
        return cls(
            n_labeled=result.n_labeled,
            n_validation=result.n_validation or 0,
            n_unlabeled=result.n_unlabeled,
            labeled_counts=result.labeled_counts,
            fingerprints=fingerprints,
            began=began,
            model=str(model),
            model_digest=result.model_digest,
        )


def hand_over(folder: Path, facts: CellFacts, rows: Mapping[str, ImageRows]) -> None:
    """Write what a trainer needs into a folder, and remove the files that a killed trainer left there."""
    for name in (TEST, LOGITS, REPORT, MODEL):
        (folder / name).unlink(missing_ok=True)
    for name, chosen in rows.items():
        chosen.write(folder / f"{name}.npz")
    write_atomic(folder / FACTS, facts.model_dump_json().encode())


class Trained(Strict):
    """The outcome of training, besides files. Its history has no values that need labels unknown to the trainer."""

    history: list[EpochRow]
    evaluated: list[int]
    """Epochs that end with an evaluation. The last evaluation is that of the trained net."""
    evaluations_begin: int
    """Number of pre-training steps, which evaluations do not count."""
    data: dict[str, str]
    """The images that a stage draws as unlabeled, by the stage's name: `unlabeled`, `everything` or `relabeled`."""
    image_passes: int
    forward_images: int
    optimizer_steps: int
    parameters: int


class TrainerReport(Strict):
    """How a trainer ended: with what it has `trained` or tested, or with an error."""

    status: Status
    error: ErrorReport | None = None
    config: RecordConfig
    selection: str
    """The evaluated net, in words."""
    measured: Measured
    environment: dict[str, str]
    trained: Trained | None = None
