"""The test images of another dataset, for a model that was not trained on any of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ferbench.contract.dataset import Dataset
from ferbench.data.load.image_store import ImageStore
from ferbench.data.prepare.pack import ensure_packed
from ferbench.data.select.folds import Fold
from ferbench.data.select.near_duplicates import known_overlap, source_rows
from ferbench.data.select.splits import of_classes, rows_of, with_labels
from ferbench.data.select.unlabeled_pool import UnlabeledPool
from ferbench.errors import DataError, listed
from ferbench.records.schema import Fingerprints


@dataclass(frozen=True)
class CrossTest:
    """`rows` of another dataset, sorted by id; each has a label among `class_names`, which both datasets have.

    `near_duplicates` is the number of test images that are left out because they look like training images.
    """

    images: ImageStore
    rows: list[int]
    class_names: tuple[str, ...]
    near_duplicates: int

    def fingerprints(self, trained: Fingerprints) -> Fingerprints:
        """The fingerprints `trained`, with the test images of the other dataset in place of its own."""
        tested = {"test": with_labels(self.images, self.rows), "test_data": self.images.fingerprint, "folds": None}
        return trained.model_copy(update=tested)

    def notes(self) -> Iterator[str]:
        """Sentences about the choice of test images."""
        if not rows_of(self.images, "test"):
            yield "has no test split, so all its labeled images are test images"
        if self.near_duplicates:
            yield f"{self.near_duplicates} test image(s) are left out because they look like training images"


def open_cross_test(
    dataset: Dataset,
    class_names: Sequence[str],
    trained: ImageStore,
    *,
    fold: Fold | None = None,
    pool: UnlabeledPool | None = None,
) -> CrossTest:
    """Pack another dataset at the size of the trained one; take its test split, or all labeled images if it has none.

    These are compared with every image that cells of the protocol may train on, labeled or not, and with the pool, so
    the choice of test images depends on neither method nor seed. Raises DataError with a list if a test image equals a
    training image, pixel for pixel; DataError if no test image of the classes is left.
    """
    packed = ImageStore(ensure_packed(dataset, trained.image_size))
    split = rows_of(packed, "test") or rows_of(packed, "train")
    rows = of_classes(packed, split, class_names)
    near = _seen(packed, rows, trained, fold, pool)
    kept = [row for position, row in enumerate(rows) if position not in near]
    if not kept:
        why = f"; {len(near)} look like training images" if near else ""
        raise DataError(
            f"--test-on {packed.name}: no test images of the classes {', '.join(class_names)}{why}; "
            "name another dataset or complete this one"
        )
    return CrossTest(packed, kept, tuple(class_names), len(near))


def _seen(
    packed: ImageStore, rows: list[int], trained: ImageStore, fold: Fold | None, pool: UnlabeledPool | None
) -> set[int]:
    """Positions in `rows` of the test images that look like training images."""
    if not rows:
        return set()
    found = [known_overlap(trained, np.array(rows_of(trained, "train", fold), np.int64), packed, rows)]
    if pool:
        found.append(known_overlap(pool.source, source_rows(pool.source), packed, rows))
    exact = sorted({int(position) for overlap in found for position in overlap.exact_tests})
    if exact:
        raise DataError(
            f"--test-on {packed.name}: {len(exact)} test image(s) equal training images of '{trained.name}' or of its "
            f"pool, pixel for pixel; name another dataset:{listed([packed.ids[rows[position]] for position in exact])}"
        )
    return {int(position) for overlap in found for position in overlap.near_tests}
