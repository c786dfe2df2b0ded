"""Recomputes the predictions of a finished cell's model, for the test split and for images that nobody else has.

Only names, shapes and numbers are read from the model's file. The net is built by the code that is installed here.
"""

import os
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ferbench.cells.fingerprints import tests_of
from ferbench.cells.resolve import ResolvedCell, resolve
from ferbench.cells.select import CellData, DataNeeds, select
from ferbench.contract.backbone import Network
from ferbench.contract.dataset import Dataset
from ferbench.data.load.image_store import ImageStore
from ferbench.data.prepare.pack import ensure_packed
from ferbench.data.select.splits import of_classes, rows_of
from ferbench.discovery.registry import Registry
from ferbench.errors import DataError, UsageError, VerificationError
from ferbench.execution.build import image_set_of, trained_net, view_maker
from ferbench.execution.copies import own_environment, write_copy
from ferbench.execution.devices import choose_device, make_deterministic
from ferbench.execution.handover import CellFacts
from ferbench.execution.join import cross_predictions, own_predictions
from ferbench.execution.rows import rows_of_tests
from ferbench.readers.parquet import ParquetDataset
from ferbench.records.files import file_digest, read_bounded
from ferbench.records.metrics import evaluate
from ferbench.records.predictions import Predictions
from ferbench.records.publication import is_published
from ferbench.records.schema import Record
from ferbench.records.score_checks import checked_predictions
from ferbench.training.evaluation import evaluations

ABSOLUTE, RELATIVE = 2e-3, 2**-9
"""Tolerance for a logit: two float16 steps, and the rounding error where terms cancel."""
OTHER_CLASSES = 1e-3
"""Share of the test images whose predicted class may differ (at least one image), if two logits are nearly equal.

Somebody who changes predictions by less than the tolerance gains at most 0.1 points.
"""

SEED_VARIABLE = "FERBENCH_PRIVATE_SEED"
"""Secret seed of the private render: 32 hexadecimal digits. Processes that run method code do not get it."""


def models_below(folder: Path) -> dict[str, Path]:
    """Every safetensors file of a folder by its SHA-256, whatever its name. Links are omitted."""
    paths = sorted(path for path in folder.rglob("*.safetensors") if path.is_file() and not path.is_symlink())
    return {file_digest(path): path for path in paths}


@dataclass(frozen=True)
class Rebuilt:
    """A finished cell with its evaluated net, on a device."""

    record: Record
    resolved: ResolvedCell
    data: CellData
    net: Network
    device: torch.device

    def predictions(self) -> Predictions:
        """The predictions of the net for the test split."""
        test = self.data.cross_test
        if test is not None:
            logits, order = self._logits(test.images, test.rows)
            return cross_predictions(self.resolved, test, logits, order)
        logits, order = self._logits(self.data.images, self.data.selection.test)
        return next(own_predictions(self.resolved, self.data, [logits], order))

    def recorded(self, folder: Path) -> Predictions:
        """The predictions beside the record; logits without labels get the labels of the data on this machine."""
        assert self.record.result is not None
        return checked_predictions(folder, self.record.result, tests_of(self.data))

    def score(self, images: ImageStore) -> float:
        """The headline metric on the test images of a store."""
        names = self.resolved.class_names
        rows = of_classes(images, rows_of(images, "test"), names)
        logits, order = self._logits(images, rows)
        metrics, _ = evaluate(logits, images.label_positions(np.array(rows)[order].tolist(), names), names)
        return float(getattr(metrics, self.record.headline))

    def _logits(self, images: ImageStore, rows: Sequence[int]) -> tuple[NDArray[np.float16], NDArray[np.int64]]:
        """Logits (N, C) in the order of a trainer, and the position (N,) in `rows` of each."""
        tested, order = rows_of_tests(images, rows)
        maker, batch = view_maker(self.resolved, self.net, self.device), self.resolved.recipe.evaluation_batch
        return evaluations(self.net, [], image_set_of(tested, self.device), maker, batch)[-1], order


def rebuild(record: Record, model: Path, registry: Registry) -> Rebuilt:
    """The net of a record with a result, from its model's file, with its training and test data.

    Raises FerbenchError if a part is not installed here, the data is missing or different, or the file belongs to
    another net.
    """
    assert record.result is not None
    resolved, data = _data_of(record, registry)
    device = torch.device(choose_device("auto"))
    make_deterministic(device)
    facts = CellFacts.of_trained(record.result, data.trained, model, time.monotonic())
    # initial weights are not needed: the file replaces every tensor of the evaluated net
    return Rebuilt(record, resolved, data, trained_net(resolved.base, facts, None, device), device)


def check_labels(path: Path, record: Record, registry: Registry) -> None:
    """Check a record that has only logits against the labels of the data on this machine, before anything is trained.

    Raises FerbenchError if the data is missing or different, VerificationError if the record contradicts the labels.
    """
    assert record.result is not None
    if is_published(path.parent):
        _, data = _data_of(record, registry)
        checked_predictions(path.parent, record.result, tests_of(data))


def _data_of(record: Record, registry: Registry) -> tuple[ResolvedCell, CellData]:
    """The data of a record with a result; raises FerbenchError if it is missing or has other fingerprints."""
    assert record.result is not None
    resolved = resolve(record.cell, registry)
    data = select(resolved, needs=DataNeeds.recorded(record.result.fingerprints))
    if names := data.fingerprints.differences(record.result.fingerprints):
        raise DataError(f"the data on this machine is not that of the record: {', '.join(names)} differ")
    return resolved, data


@dataclass(frozen=True)
class Agreement:
    """Differences between recomputed and recorded predictions."""

    largest_difference: float
    other_classes: int


def agreement(recomputed: Predictions, recorded: Predictions) -> Agreement:
    """Compare predictions of one test split; raises VerificationError if they differ by more than the tolerance."""
    if recomputed.ids != recorded.ids or not np.array_equal(recomputed.labels, recorded.labels):
        raise VerificationError("the test images or their labels are not those of the data on this machine")
    if recomputed.logits.shape != recorded.logits.shape:
        raise VerificationError(f"the model has {recomputed.logits.shape[1]} classes")
    now, before = (found.logits.astype(np.float64) for found in (recomputed, recorded))
    with np.errstate(invalid="ignore"):
        difference, images = np.abs(now - before), len(before)
    # NaN and infinite logits never count as equal
    near = (np.isfinite(difference) & (difference <= ABSOLUTE + RELATIVE * np.abs(before))).all(axis=1)
    if far := images - int(near.sum()):
        largest = np.nanmax(difference, initial=0)
        raise VerificationError(
            f"the model gives other logits for {far} of {images} test images, by up to {largest:.3g}"
        )
    others = int((now.argmax(axis=1) != before.argmax(axis=1)).sum())
    if others > max(1, OTHER_CLASSES * images):
        raise VerificationError(f"the model predicts another class for {others} of {images} images")
    return Agreement(float(difference.max()), others)


@dataclass
class PrivateRenders:
    """Test images that are rendered from a secret seed, once for each dataset. They exist while this object is open.

    The seed is written to no file, and the images are in a folder that is removed.
    """

    seed: int = field(repr=False)
    folder: Path
    _copies: dict[str, ParquetDataset] = field(default_factory=dict)

    def of(self, dataset: Dataset, image_size: int) -> ImageStore | None:
        """The new images of a dataset at a size; None if the dataset has no generator."""
        name = dataset.info.name
        if name not in self._copies:
            samples = dataset.redrawn_test(self.seed)
            if samples is None:
                return None
            write_copy(self.folder / name, dataset.info, list(samples))
            self._copies[name] = ParquetDataset(self.folder / name)
        with own_environment(FERBENCH_CACHE=str(self.folder / "cache")):
            return ImageStore(ensure_packed(self._copies[name], image_size))


@contextmanager
def private_renders(seed: int) -> Iterator[PrivateRenders]:
    """Render test images from a secret seed. Nothing of them is left afterwards."""
    with tempfile.TemporaryDirectory(prefix="ferbench-private-") as folder:
        yield PrivateRenders(seed, Path(folder))


def secret_seed(path: Path | None) -> int | None:
    """The 128 bits from a file or, without one, from the environment variable; None if there is neither.

    The variable is removed, so that later processes do not get it. Raises UsageError if the content is not 32
    hexadecimal digits; the message does not show the content.
    """
    text, where = os.environ.pop(SEED_VARIABLE, None), SEED_VARIABLE
    if path is not None:
        text, where = read_bounded(path, 1000).decode("ascii", "replace"), str(path)
    if text is None:
        return None
    if not re.fullmatch("[0-9a-fA-F]{32}", text.strip()):
        raise UsageError(
            f"{where}: not 32 hexadecimal digits, which are 128 bits; make some with "
            "python -c 'import secrets; print(secrets.token_hex(16))'"
        )
    return int(text, 16)
