"""The pool that `--unlabeled` names: which of its images a cell draws, after a comparison with the test split."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from ferbench.contract.dataset import Dataset
from ferbench.contract.streams import StreamedDataset
from ferbench.data.overlap import Overlap, find_overlap, in_chunks
from ferbench.data.pack import ensure_packed, packed_folder
from ferbench.data.packed import Packed
from ferbench.data.splits import Fold, SplitPlan, pool_rows, rows_of, without_labels
from ferbench.data.stream_index import StreamIndex, ensure_index, index_folder
from ferbench.errors import DataError, listed
from ferbench.records.cell import digest
from ferbench.records.files import write_atomic

OVERLAP_VERSION = 2


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


def open_external(dataset: Dataset, test: Packed, fold: Fold | None = None) -> External:
    """Pack or index a pool at the size of the labeled set and leave out what looks like one of its test images.

    With folds every image of the set is one of some fold, so that the cells of all folds draw the same images.
    Raises DataError with a list where an image of the pool is a test image, pixel for pixel.
    """
    source: Packed | StreamIndex
    if isinstance(dataset, StreamedDataset):
        source = ensure_index(dataset, test.image_size)
    else:
        source = Packed(ensure_packed(dataset, test.image_size))
    rows = source_rows(source)
    overlap = known_overlap(source, rows, test, rows_of(test, "test", fold))
    if len(overlap.exact):
        ids = [str(source.ids[int(row)]) for row in rows[overlap.exact]]
        raise DataError(
            f"pool '{dataset.info.name}': {len(ids)} image(s) are test images of '{test.name}', pixel for pixel; "
            f"remove them from the pool or name another:{listed(ids)}"
        )
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


def source_rows(source: Packed | StreamIndex) -> NDArray[np.int64]:
    """The rows of a pool that may be drawn: all of a stream, of a packed set all but its test images."""
    return np.arange(len(source)) if isinstance(source, StreamIndex) else np.array(pool_rows(source), np.int64)


def known_overlap(source: Packed | StreamIndex, rows: NDArray[np.int64], test: Packed, test_rows: list[int]) -> Overlap:
    """Positions in `rows`, all rows of a stream, and in `test_rows`; what was found before lies beside the source."""
    compared = hashlib.sha256(rows.tobytes()).hexdigest(), test.fingerprint, test_rows
    path = source.folder / f"overlap-{digest([OVERLAP_VERSION, *compared])[:16]}.json"
    if path.is_file():
        found = json.loads(path.read_text("utf-8"))
        return Overlap(**{name: np.array(positions, np.int64) for name, positions in found.items()})
    hashes = source.hashes() if isinstance(source, StreamIndex) else in_chunks(source.images, rows)
    overlap = find_overlap(test.images[test_rows], hashes)
    write_atomic(path, json.dumps({name: positions.tolist() for name, positions in asdict(overlap).items()}).encode())
    return overlap
