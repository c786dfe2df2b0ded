"""Selects the rows of a cell's data that its trainer gets, and the labels that it does not get."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ferbench.cells.request import no_pool_text
from ferbench.cells.resolve import ResolvedCell
from ferbench.cells.select import CellData
from ferbench.contract.protocol import PoolOrder
from ferbench.data.load.image_store import UNKNOWN, ImageStore
from ferbench.data.prepare.stream_index import StreamIndex
from ferbench.data.select.ranks import rank
from ferbench.errors import UsageError
from ferbench.execution.handover import CellFacts, ImageRows
from ferbench.records.cell import digest

Parts = Sequence[tuple[ImageStore, Sequence[int]]]


@dataclass(frozen=True)
class TrainingRows:
    """The rows of a cell by name, and the labels of its unlabeled images, indexed by the method's numbers for them.

    `hidden` labels are (N,) int64, `UNKNOWN` if an image has none.
    """

    rows: Mapping[str, ImageRows]
    hidden: Mapping[str, NDArray[np.int64]]

    @property
    def n_unlabeled(self) -> int | None:
        """The number of images that a method draws from; None if it draws none."""
        return len(self.rows["unlabeled"]) if "unlabeled" in self.rows else None


def training_rows(resolved: ResolvedCell, data: CellData, *, unlabeled: bool, everything: bool) -> TrainingRows:
    """The rows that a cell trains on. Raises UsageError if a method that learns from `unlabeled` images has none.

    `everything` says whether a stage draws all images as unlabeled.
    """
    names, split, second = resolved.class_names, data.selection, data.relabeled
    pool = partial(_pool, data, names=names, by=resolved.protocol.pool_order)
    rows = {"labeled": _labeled(split.seen, split.labeled, names)}
    if split.validation:
        rows["validation"] = _labeled(split.seen, split.validation, names)
    hidden: dict[str, NDArray[np.int64]] = {}
    if unlabeled:
        rows["unlabeled"], hidden["unlabeled"] = pool(split.unlabeled)
        if not len(rows["unlabeled"]):
            raise UsageError(_nothing_left(resolved, data))
    if unlabeled and everything:
        with_labeled = [*split.labeled, *split.unlabeled] if data.keeps_rest else []
        rows["everything"], hidden["everything"] = pool(with_labeled)
    if second is not None:
        rows["relabeled-labeled"] = _labeled(second.seen, second.labeled, names)
        rows["relabeled"], hidden["relabeled"] = pool(second.unlabeled)
    return TrainingRows(rows, hidden)


def facts_of(data: CellData, chosen: TrainingRows, began: float) -> CellFacts:
    """The facts that a trainer gets besides rows; `began` is the time when the work on the cell began."""
    return CellFacts(
        n_labeled=len(data.selection.labeled),
        n_validation=len(data.selection.validation),
        n_unlabeled=chosen.n_unlabeled,
        labeled_counts=data.selection.labeled_counts,
        fingerprints=data.trained,
        began=began,
        pretraining_images=data.pretraining_images if "everything" in chosen.rows else "",
    )


def rows_of_tests(images: ImageStore, rows: Sequence[int]) -> tuple[ImageRows, NDArray[np.int64]]:
    """The test rows, in an order that reveals nothing, and the position (N,) of each in `rows`."""
    ids = [images.ids[row] for row in rows]
    order = np.array(sorted(range(len(ids)), key=lambda i: rank("test order", images.name, 0, ids[i])), np.int64)
    return _in_memory([(images, np.array(rows, np.int64)[order].tolist())]), order


def _pool(
    data: CellData, own: Sequence[int], names: Sequence[str], by: PoolOrder
) -> tuple[ImageRows, NDArray[np.int64]]:
    """Unlabeled images (`own` rows of the training set, and a named pool), and their labels by number.

    They are in the protocol's order, but images of a stream come last.
    """
    source = data.pool.source if data.pool else None
    parts: list[tuple[ImageStore, Sequence[int]]] = [(data.images, own)] if data.keeps_rest else []
    if data.pool and isinstance(source, ImageStore):
        parts.append((source, data.pool.rows.tolist()))
    ids = [(store.name, store.ids[row]) for store, rows in parts for row in rows]
    keys = [rank("pool order", name, 0, image) if by == "rank" else image for name, image in ids]
    sorts = by == "rank" or data.keeps_rest  # a pool without the rest keeps its packed order
    order = np.array(sorted(range(len(keys)), key=keys.__getitem__) if sorts else range(len(keys)), np.int64)
    labels = np.concatenate([store.label_positions(rows, names) for store, rows in parts] or [np.empty(0, np.int64)])
    streamed = data.pool.rows if data.pool and isinstance(source, StreamIndex) else np.empty(0, np.int64)
    numbers = _numbers(len(ids) + len(streamed), [data.images.fingerprint, data.pool.drawn if data.pool else None])
    by_number = np.full(len(numbers), UNKNOWN)
    by_number[numbers[: len(ids)]] = labels[order]
    found = _in_memory(parts, order)
    rows = replace(
        found,
        store=np.concatenate([found.store, np.full(len(streamed), -1, np.int8)]),
        row=np.concatenate([found.row, streamed.astype(np.int32)]),
        numbers=numbers,
        index=np.array(str(source.folder)) if isinstance(source, StreamIndex) else None,
    )
    return rows, by_number


def _numbers(n: int, key: object) -> NDArray[np.int32]:
    """A permutation that depends only on the data."""
    return np.random.default_rng(int(digest(["numbers", key]), 16)).permutation(n).astype(np.int32)


def _labeled(images: ImageStore, rows: Sequence[int], names: Sequence[str]) -> ImageRows:
    shares = images.label_shares(rows, names)
    probs = shares / np.maximum(shares.sum(1, keepdims=True), np.float32(1e-12))
    return replace(_in_memory([(images, rows)]), labels=images.label_positions(rows, names), label_probs=probs)


def _in_memory(parts: Parts, order: NDArray[np.int64] | None = None) -> ImageRows:
    """The images of some stores, in their order or in `order`, numbered by their positions."""
    counts = [len(rows) for _, rows in parts]
    order = np.arange(sum(counts)) if order is None else order
    row = np.concatenate([np.asarray(rows, np.int32) for _, rows in parts] or [np.empty(0, np.int32)])
    boxes = np.concatenate([store.boxes(rows) for store, rows in parts] or [np.empty((0, 4), np.float32)])
    return ImageRows(
        stores=np.array([str(store.folder) for store, _ in parts], np.str_),
        store=np.repeat(np.arange(len(parts), dtype=np.int8), counts)[order],
        row=row[order],
        boxes=boxes[order],
        numbers=np.arange(len(order), dtype=np.int32),
    )


def _nothing_left(resolved: ResolvedCell, data: CellData) -> str:
    if data.pool:
        near = data.pool.near_duplicates
        return f"pool '{resolved.cell.pool_name}' has no image left: all {near} look like test images"
    return no_pool_text(resolved.cell, resolved.protocol)
