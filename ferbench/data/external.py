"""The pool that `--unlabeled` names: which of its images a cell draws, after a comparison with the test split."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ferbench.contract.dataset import Dataset
from ferbench.contract.streams import StreamedDataset
from ferbench.data.overlap import Hashes, Overlap, find_overlap, in_chunks
from ferbench.data.pack import ensure_packed, packed_folder
from ferbench.data.packed import Packed
from ferbench.data.splits import SplitPlan, pool_rows, without_labels
from ferbench.data.stream_index import StreamIndex, ensure_index, index_folder
from ferbench.errors import DataError, listed
from ferbench.records.cell import digest
from ferbench.records.files import write_atomic

OVERLAP_VERSION = 1


@dataclass(frozen=True)
class External:
    """A pool and what of it is drawn: `rows` without the near-duplicates of test images, which are counted.

    `drawn` is the fingerprint of these rows.
    """

    source: Packed | StreamIndex
    rows: NDArray[np.int64]
    near_duplicates: int
    drawn: str

    def fingerprints(self, plan: SplitPlan, *, keeps_rest: bool) -> dict[str, str]:
        """Those of the split, with the unlabeled images that the pool gives, and the pool's own."""
        unlabeled = digest([plan.fingerprints["unlabeled"], self.drawn]) if keeps_rest else self.drawn
        return {**plan.fingerprints, "unlabeled": unlabeled, "pool": self.source.fingerprint}

    def left_out(self) -> Iterator[str]:
        """What of the pool is not drawn, for people."""
        if self.near_duplicates:
            yield f"{self.near_duplicates} image(s) look like test images and are left out"
        if isinstance(self.source, StreamIndex) and self.source.damaged:
            folder = self.source.folder
            yield f"{self.source.damaged} damaged record(s) are left out; {folder / 'damaged.txt'} names them"


def open_external(dataset: Dataset, test: Packed) -> External:
    """Pack or index a pool at the size of the labeled set and leave out what looks like one of its test images.

    Raises DataError with a list where an image of the pool is a test image, pixel for pixel.
    """
    source: Packed | StreamIndex
    if isinstance(dataset, StreamedDataset):
        source = ensure_index(dataset, test.image_size)
        rows, hashes = np.arange(len(source)), source.hashes()
    else:
        source = Packed(ensure_packed(dataset, test.image_size))
        rows = np.array(pool_rows(source), np.int64)
        hashes = in_chunks(source.images, rows)
    overlap = _overlap(source.folder, hashes, test)
    if len(overlap.exact):
        ids = [str(source.ids[int(row)]) for row in rows[overlap.exact]]
        raise DataError(_overlap_text(dataset.info.name, test.name, ids))
    near, kept = rows[overlap.near], np.delete(rows, overlap.near)
    if isinstance(source, Packed):
        drawn = without_labels(source, kept.tolist())
    else:
        drawn = digest([source.fingerprint, sorted(str(source.ids[int(row)]) for row in near)])
    return External(source, kept, len(near), drawn)


def is_prepared(dataset: Dataset, image_size: int) -> bool:
    """Whether opening the pool at this size decodes nothing."""
    if isinstance(dataset, StreamedDataset):
        return index_folder(dataset, image_size).is_dir()
    return packed_folder(dataset, image_size).is_dir()


def _overlap(folder: Path, hashes: Iterable[Hashes], test: Packed) -> Overlap:
    """What was found before lies beside the pool's images."""
    path = folder / f"overlap-{digest([OVERLAP_VERSION, test.fingerprint])[:16]}.json"
    if path.is_file():
        found = json.loads(path.read_text("utf-8"))
        return Overlap(np.array(found["exact"], np.int64), np.array(found["near"], np.int64))
    test_rows = np.array([row for row, split in enumerate(test.splits) if split == "test"])
    overlap = find_overlap(test.images[test_rows], hashes)
    write_atomic(path, json.dumps({"exact": overlap.exact.tolist(), "near": overlap.near.tolist()}).encode())
    return overlap


def _overlap_text(pool: str, dataset: str, ids: list[str]) -> str:
    return (
        f"pool '{pool}': {len(ids)} image(s) are test images of '{dataset}', pixel for pixel; remove them from the "
        f"pool or name another:{listed(ids)}"
    )
