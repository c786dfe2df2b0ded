"""The pool of `--unlabeled`: the images that a cell uses, after a comparison with the test images."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ferbench.contract.dataset import Dataset
from ferbench.data.load.image_store import ImageStore
from ferbench.data.prepare.pack import ensure_packed, packed_folder
from ferbench.data.prepare.stream_index import StreamIndex, ensure_index, index_folder
from ferbench.data.select.folds import Fold
from ferbench.data.select.near_duplicates import known_overlap, source_rows
from ferbench.data.select.splits import Selection, rows_of, without_labels
from ferbench.errors import DataError, listed
from ferbench.readers.streams import StreamedDataset
from ferbench.records.cell import digest
from ferbench.records.schema import Fingerprints


@dataclass(frozen=True)
class UnlabeledPool:
    """A pool and the rows of it that are used.

    `near_duplicates` is the number of images that are left out because they look like test images; `drawn` is the
    fingerprint of `rows`.
    """

    source: ImageStore | StreamIndex
    rows: NDArray[np.int64]
    near_duplicates: int
    drawn: str

    def fingerprints(self, selection: Selection, *, keeps_rest: bool) -> Fingerprints:
        """The fingerprints of the split, with the pool's images as unlabeled ones, and the fingerprint of the pool."""
        unlabeled = digest([selection.fingerprints.unlabeled, self.drawn]) if keeps_rest else self.drawn
        return selection.fingerprints.model_copy(update={"unlabeled": unlabeled, "pool": self.source.fingerprint})

    def left_out(self) -> Iterator[str]:
        """Sentences about the images of the pool that are left out."""
        if self.near_duplicates:
            yield f"{self.near_duplicates} image(s) are left out because they look like test images"
        if isinstance(self.source, StreamIndex) and self.source.damaged:
            folder = self.source.folder
            yield f"{self.source.damaged} damaged record(s) are left out; {folder / 'damaged.txt'} lists them"


def open_unlabeled_pool(dataset: Dataset, test: ImageStore, fold: Fold | None = None) -> UnlabeledPool:
    """Pack or index a pool at the size of the labeled dataset, without images that look like its test images.

    If the pool is the labeled dataset itself, only its images without a label are: the others are its training set.
    With folds, every image of the dataset is a test image of some fold, so the cells of all folds use the same pool.
    Raises DataError with a list if an image of the pool equals a test image, pixel for pixel.
    """
    source: ImageStore | StreamIndex
    if isinstance(dataset, StreamedDataset):
        source = ensure_index(dataset, test.image_size)
    else:
        source = ImageStore(ensure_packed(dataset, test.image_size))
    rows = source_rows(source)
    if isinstance(source, ImageStore) and source.fingerprint == test.fingerprint:
        rows = np.array([row for row in rows.tolist() if source.splits[row] == "unlabeled"], np.int64)
        if not len(rows):
            raise DataError(f"--unlabeled {dataset.info.name}: the dataset has no images without a label; omit it")
    overlap = known_overlap(source, rows, test, rows_of(test, "test", fold))
    if len(overlap.exact):
        ids = [str(source.ids[int(row)]) for row in rows[overlap.exact]]
        raise DataError(
            f"pool '{dataset.info.name}': {len(ids)} image(s) equal test images of '{test.name}', pixel for pixel; "
            f"remove them from the pool, or name another pool:{listed(ids)}"
        )
    near, kept = rows[overlap.near], np.delete(rows, overlap.near)
    if isinstance(source, ImageStore):
        drawn = without_labels(source, kept.tolist())
    else:
        drawn = digest([source.fingerprint, sorted(str(source.ids[int(row)]) for row in near)])
    return UnlabeledPool(source, kept, len(near), drawn)


def is_on_disk(dataset: Dataset, image_size: int) -> bool:
    """Whether the pool is already packed or indexed at this size, so that opening it decodes nothing."""
    if isinstance(dataset, StreamedDataset):
        return index_folder(dataset, image_size).is_dir()
    return packed_folder(dataset, image_size).is_dir()
