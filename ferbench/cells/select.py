"""Select the data of a resolved cell. All code that runs, verifies or shows a cell uses this module."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property, partial

from ferbench.cells.resolve import ResolvedCell
from ferbench.contract.dataset import Dataset, Sample
from ferbench.contract.protocol import Protocol
from ferbench.data.load.image_store import ImageStore
from ferbench.data.prepare.joined import JoinedDataset
from ferbench.data.prepare.pack import ensure_packed, find_packed
from ferbench.data.seeds import derive
from ferbench.data.select.allocations import labeled_counts
from ferbench.data.select.cross_test import CrossTest, open_cross_test
from ferbench.data.select.folds import fold_of
from ferbench.data.select.joined_tests import refuse_test_images
from ferbench.data.select.label_noise import DrawnNoise
from ferbench.data.select.splits import Selection, make_split
from ferbench.data.select.unlabeled_pool import UnlabeledPool, is_on_disk, open_unlabeled_pool
from ferbench.data.sources import shared_classes
from ferbench.errors import DataError
from ferbench.readers.streams import StreamedDataset
from ferbench.records.cell import Budget, digest
from ferbench.records.schema import Fingerprints


class Policy(Enum):
    """What to do if data is not on disk at the cell's image size."""

    MAKE = "pack or index it now"
    IF_ON_DISK = "refuse; if the size does not matter, use another one"
    USUAL_SIZE = "pack it if the size is the protocol's own, because a record may name any size; else refuse"


class NotOnDiskError(DataError):
    """The data of a cell is not prepared on this machine, and the policy does not allow to make it."""


@dataclass(frozen=True)
class DataNeeds:
    """What a method needs beyond the split: face boxes, a second draw of labeled images."""

    boxes: bool = False
    relabeled: bool = False

    @classmethod
    def recorded(cls, fingerprints: Fingerprints | None) -> "DataNeeds":
        """Return the needs that a record shows; none if it has no result."""
        if fingerprints is None:
            return cls()
        return cls(fingerprints.boxes is not None, fingerprints.relabeled is not None)


@dataclass(frozen=True)
class CellData:
    """The selected rows of packed data, the named pool, if any, and the other test dataset, if any.

    `keeps_rest` says whether the rest of the training set is unlabeled data. `relabeled` is the second draw, if a stage
    of the method needs it. `trained` has the fingerprints for training; those of the cell differ if another dataset is
    tested.
    """

    selection: Selection
    images: ImageStore
    pool: UnlabeledPool | None
    cross_test: CrossTest | None
    relabeled: Selection | None
    keeps_rest: bool
    trained: Fingerprints

    @property
    def fingerprints(self) -> Fingerprints:
        """The fingerprints that are recorded and compared."""
        return self.cross_test.fingerprints(self.trained) if self.cross_test else self.trained

    @property
    def tested(self) -> ImageStore:
        """The packed images that contain the test images."""
        return self.cross_test.images if self.cross_test else self.images

    def check(self) -> None:
        """Raise DamagedCacheError if a file of the data has changed since it was written."""
        for source in (self.images, self.pool.source if self.pool else None, self.tested):
            if source is not None:
                source.check()

    @property
    def n_unlabeled(self) -> int:
        """Number of unlabeled images that a semi-supervised method draws from."""
        own = len(self.selection.unlabeled) if self.keeps_rest else 0
        return own + (len(self.pool.rows) if self.pool else 0)

    @cached_property
    def pretraining_images(self) -> str:
        """A digest of the images of stages that draw `"all"`, independent of which of them are labeled."""
        own = self.images.content(self.selection.labeled + self.selection.unlabeled) if self.keeps_rest else []
        return digest([sorted(own), [self.pool.source.fingerprint, self.pool.drawn] if self.pool else []])


def select(resolved: ResolvedCell, policy: Policy = Policy.MAKE, needs: DataNeeds | None = None) -> CellData:
    """Select the rows of a cell; `needs` are the method's, for callers that know them without loading the method.

    Raises DataError or UsageError if the data cannot give what the cell needs, and NotOnDiskError by the policy.
    """
    protocol, cell, dataset = resolved.protocol, resolved.cell, resolved.dataset
    needs = needs or DataNeeds("boxes" in resolved.facts.requires, resolved.facts.relabeled)
    images, fold = _images(resolved, policy), fold_of(protocol, cell.seed)
    if isinstance(dataset, JoinedDataset):
        refuse_test_images(dataset, images)
    drawn = partial(draw, protocol, images, resolved.class_names, cell.budget, cell.seed)
    selection, relabeled = drawn(), drawn(relabeled=True) if needs.relabeled else None
    pool = open_unlabeled_pool(_allowed(resolved, policy, resolved.pool), images, fold) if resolved.pool else None
    cross_test = None
    if resolved.test_set is not None:
        shared = shared_classes(dataset, resolved.class_names, resolved.test_set)
        other = _allowed(resolved, policy, resolved.test_set)
        cross_test = open_cross_test(other, shared, images, fold=fold, pool=pool)
    trained = pool.fingerprints(selection, keeps_rest=cell.keeps_rest) if pool else selection.fingerprints
    detected = needs.boxes and images.box_sources(selection.labeled)["detected"]
    more = {
        "boxes": images.detected_boxes if detected else None,
        "relabeled": relabeled.fingerprints.labeled if relabeled else None,
    }
    return CellData(selection, images, pool, cross_test, relabeled, cell.keeps_rest, trained.model_copy(update=more))


def train_sizes(dataset: Dataset) -> Counter[str | None]:
    """Count the training images of each class that the reader finds; packing may still find damaged ones."""
    found = (sample for sample in dataset.samples() if isinstance(sample, Sample))
    return Counter(sample.class_name for sample in found if sample.split == "train")


def check_sources(resolved: ResolvedCell) -> None:
    """Raise DataError if a dataset must be packed at the cell's size and cannot be read. Decodes nothing."""
    for dataset in filter(None, (resolved.dataset, resolved.pool, resolved.test_set)):
        if not isinstance(dataset, StreamedDataset) and not is_on_disk(dataset, resolved.recipe.packed_size):
            next(iter(dataset.samples()), None)


def check_counts(resolved: ResolvedCell, sizes: Mapping[str | None, int]) -> None:
    """Raise UsageError, like `select`, if a class has fewer training images than the budget needs.

    `sizes` are the counts of data that is not packed yet. With folds nothing is checked, because the training images
    are different.
    """
    if resolved.protocol.folds is None:
        found = {name: sizes.get(name, 0) for name in resolved.class_names}
        labeled_counts(resolved.dataset.info.name, resolved.cell.budget, found)


def draw(
    protocol: Protocol,
    images: ImageStore,
    class_names: Sequence[str],
    budget: Budget,
    seed: int,
    *,
    relabeled: bool = False,
) -> Selection:
    """Draw the split of a protocol; `relabeled` makes a second draw of labeled images. Raises as `make_split` does."""
    return make_split(
        images,
        class_names,
        budget,
        derive(seed, "relabeled") if relabeled else seed,
        rule=protocol.split_rule,
        groups=protocol.rank_groups,
        fold=fold_of(protocol, seed),
        validation=protocol.validation,
        noise=DrawnNoise(protocol.label_noise, protocol.split_rule, seed) if protocol.label_noise else None,
    )


def _images(resolved: ResolvedCell, policy: Policy) -> ImageStore:
    """Return the packed images; at any size if no split depends on it and nothing may be made."""
    dataset, size = resolved.dataset, resolved.recipe.packed_size
    # Near-duplicates are found at the image size of the cell; the rest of a split does not depend on the size.
    any_size = policy is Policy.IF_ON_DISK and resolved.pool is None and resolved.test_set is None
    if any_size and (folder := find_packed(dataset)):
        return ImageStore(folder)
    return ImageStore(ensure_packed(_allowed(resolved, policy, dataset), size))


def _allowed(resolved: ResolvedCell, policy: Policy, dataset: Dataset) -> Dataset:
    """Return the dataset if it is on disk or may be made now; raises NotOnDiskError if not."""
    size, usual = resolved.recipe.packed_size, resolved.protocol.recipe_for(resolved.dataset.info.family)
    makes = policy is Policy.MAKE or (
        policy is Policy.USUAL_SIZE and size == usual.packed_size and not isinstance(dataset, StreamedDataset)
    )
    if not makes and not is_on_disk(dataset, size):
        verb = "indexed" if isinstance(dataset, StreamedDataset) else "packed"
        how = f"`ferbench prepare` does it, with --size {size}" if dataset.needs_root else "a run of the cell does it"
        raise NotOnDiskError(f"dataset '{dataset.info.name}' is not {verb} at {size} pixels on this machine; {how}")
    return dataset
