"""The pool that `--unlabeled` names: which of its images a cell draws, after a comparison with the test split."""

import json
from dataclasses import dataclass

import numpy as np

from ferbench.contract.dataset import Dataset
from ferbench.data.overlap import Overlap, find_overlap, hash_images, in_chunks
from ferbench.data.pack import MAX_LISTED, ensure_packed, packed_folder
from ferbench.data.packed import Packed
from ferbench.data.splits import SplitPlan, pool_rows, without_labels
from ferbench.errors import DataError
from ferbench.records.cell import digest
from ferbench.records.files import write_atomic

OVERLAP_VERSION = 1


@dataclass(frozen=True)
class External:
    """A pool and what of it is drawn: `rows` without the near-duplicates of test images, which are counted."""

    source: Packed
    rows: list[int]
    near_duplicates: int

    def fingerprints(self, plan: SplitPlan, *, keeps_rest: bool) -> dict[str, str]:
        """Those of the split, with the unlabeled images that the pool gives, and the pool's own."""
        drawn = without_labels(self.source, self.rows)
        unlabeled = digest([plan.fingerprints["unlabeled"], drawn]) if keeps_rest else drawn
        return {**plan.fingerprints, "unlabeled": unlabeled, "pool": self.source.fingerprint}


def open_external(dataset: Dataset, test: Packed) -> External:
    """Pack a pool at the size of the labeled set and leave out what looks like one of its test images.

    Raises DataError with a list where an image of the pool is a test image, pixel for pixel.
    """
    source = Packed(ensure_packed(dataset, test.image_size))
    rows = pool_rows(source)
    overlap = _overlap(source, rows, test)
    if len(overlap.exact):
        ids = [source.ids[rows[i]] for i in overlap.exact]
        raise DataError(_overlap_text(dataset.info.name, test.name, ids))
    near = set(overlap.near.tolist())
    return External(source, [row for i, row in enumerate(rows) if i not in near], len(near))


def is_prepared(dataset: Dataset, image_size: int) -> bool:
    """Whether opening the pool at this size decodes nothing."""
    return packed_folder(dataset, image_size).is_dir()


def _overlap(source: Packed, rows: list[int], test: Packed) -> Overlap:
    """What was found before lies beside the pool's images."""
    path = source.folder / f"overlap-{digest([OVERLAP_VERSION, test.fingerprint])[:16]}.json"
    if path.is_file():
        found = json.loads(path.read_text("utf-8"))
        return Overlap(np.array(found["exact"], np.int64), np.array(found["near"], np.int64))
    test_rows = np.array([row for row, split in enumerate(test.splits) if split == "test"])
    hashes = hash_images(test.images[test_rows])
    overlap = find_overlap(hashes, lambda: in_chunks(source.images, np.array(rows)))
    write_atomic(path, json.dumps({"exact": overlap.exact.tolist(), "near": overlap.near.tolist()}).encode())
    return overlap


def _overlap_text(pool: str, dataset: str, ids: list[str]) -> str:
    listed = "\n  ".join(ids[:MAX_LISTED])
    more = f"\n  and {len(ids) - MAX_LISTED} more" if len(ids) > MAX_LISTED else ""
    return (
        f"pool '{pool}': {len(ids)} image(s) are test images of '{dataset}', pixel for pixel; remove them from the "
        f"pool or name another:\n  {listed}{more}"
    )
