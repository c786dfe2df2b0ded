"""What the process that knows the labels hands to the one that trains, and what comes back; no torch, no method.

While a cell runs, these lie in the folder `in-progress` beside its record:

    facts.json, labeled.npz, unlabeled.npz ...    what is drawn: rows, and labels of the labeled images alone
    said/3.safetensors                            what the method said of the unlabeled images of epoch 3
    snapshots/3.safetensors                       the net that was evaluated after epoch 3
    test.npz                                      what is tested, in a hashed order; written once training is over
    logits.npy                                    what the snapshots and the trained net say of these images
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
    """N stored images by where their pixels lie, and nothing of what they show unless they are labeled ones.

    `stores` are packed folders, `store` (N,) int8 the number of each image's and `row` (N,) int32 its row there; images
    of number -1 come last and are rows of the stream whose `index` is a folder. `boxes` (M, 4) float32 are the faces in
    pixels of the images in packed folders. `numbers` (N,) int32 are what a method knows the images by: a permutation,
    since the order of images may be that of their ids, which in folders of classes tells the class.
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
    """What the trainer is told of its cell beside rows. `model` is the file of a trained net that is only tested."""

    n_labeled: int
    n_validation: int
    n_unlabeled: int | None
    labeled_counts: dict[str, int]
    fingerprints: Fingerprints
    began: float
    """When the work on the cell began, of the machine's monotonic clock, which all processes share."""
    lease: str = ""
    """The token of the lease under which the trainer writes beside the record."""
    pretraining_images: str = ""
    model: str | None = None
    model_digest: str = ""

    @classmethod
    def of_trained(cls, result: Result, fingerprints: Fingerprints, model: Path, began: float) -> Self:
        """Those of a cell whose trained net lies in a file; `fingerprints` are of what it was trained on."""
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
    """Lay what a trainer is told into a folder, and remove what one that was killed has left there."""
    for name in (TEST, LOGITS, REPORT, MODEL):
        (folder / name).unlink(missing_ok=True)
    for name, chosen in rows.items():
        chosen.write(folder / f"{name}.npz")
    write_atomic(folder / FACTS, facts.model_dump_json().encode())


class Trained(Strict):
    """What training has left beside files; its history has nothing that is made from labels out of its reach."""

    history: list[EpochRow]
    evaluated: list[int]
    """Epochs that end with an evaluation; that of the last one is of the trained net."""
    evaluations_begin: int
    """Steps before the first that evaluations count: those of pre-training."""
    data: dict[str, str]
    """Which images a stage draws as unlabeled, by its name: `unlabeled`, `everything` or `relabeled`."""
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
    """Which net is evaluated, in words."""
    measured: Measured
    environment: dict[str, str]
    trained: Trained | None = None
