"""The images of a record, where its data set is on this machine: opened, split again and compared with the record."""

from dataclasses import dataclass

from pydantic import ValidationError

from ferbench.contract.dataset import Dataset
from ferbench.contract.protocol import Recipe
from ferbench.contract.streams import StreamedDataset
from ferbench.data.pack import ensure_packed, packed_folder
from ferbench.data.packed import Packed
from ferbench.data.sources import classes_of, open_dataset
from ferbench.data.splits import SplitPlan, fold_of, make_split
from ferbench.data.stream_index import StreamIndex, ensure_index, index_folder
from ferbench.errors import DataError
from ferbench.records.cell import Cell
from ferbench.records.schema import Record
from ferbench.training.resolution import load_protocol

# A record is a stranger's: within these bounds its recipe costs little to draw, whatever it says.
MAX_IMAGE_SIZE = 512
MAX_OPERATIONS = 16


@dataclass(frozen=True)
class LocalData:
    """The packed images, the split that the record was made with, and the recipe of its views.

    `tested` are the images that test images are among: `packed`, or those of another set.
    """

    packed: Packed
    tested: Packed
    plan: SplitPlan
    pool: Packed | StreamIndex | None
    recipe: Recipe
    class_names: tuple[str, ...]


def open_data(record: Record, dataset: Dataset, test_set: Dataset | None = None) -> LocalData:
    """Pack and split the record's data set; raises FerbenchError with reason and remedy where that cannot be.

    `test_set` is the other set that the record is tested on, opened by its name where it is not given.
    """
    recipe = _recipe(record)
    cell, protocol = record.cell, load_protocol(record.cell.protocol)
    usual_size = protocol.recipe_for(dataset.info.family).image_size
    _, class_names = classes_of(dataset, cell.classes)
    packed = _packed(dataset, recipe.image_size, usual_size)
    rule = str(record.config.protocol.get("split_rule", protocol.split_rule))
    groups, fold = protocol.rank_groups, fold_of(protocol, cell.seed)
    plan = make_split(packed, class_names, cell.budget, cell.seed, rule=rule, groups=groups, fold=fold)
    tested = packed
    if cell.test_on is not None:
        tested = _packed(test_set or open_dataset(cell.test_on), recipe.image_size, usual_size)
    if record.result is not None:
        _check_fingerprints(record.cell, record.result.fingerprints, plan, tested)
    pool = _pool(open_dataset(cell.pool_name), recipe.image_size, usual_size) if cell.pool_name else None
    return LocalData(packed, tested, plan, pool, recipe, class_names)


def _recipe(record: Record) -> Recipe:
    fields = {name: value for name, value in record.config.protocol.items() if name in Recipe.model_fields}
    try:
        recipe = Recipe.model_validate({**fields, "backbone": record.cell.backbone})
    except ValidationError:
        raise DataError("the record's protocol is not a recipe of this version of ferbench") from None
    if recipe.image_size > MAX_IMAGE_SIZE or recipe.strong.operations > MAX_OPERATIONS:
        raise DataError("the record's recipe has images or views beyond what a report draws")
    return recipe


def _packed(dataset: Dataset, size: int, usual_size: int) -> Packed:
    """The packed copy; made now only at the protocol's own size, as a record may name any other."""
    folder = packed_folder(dataset, size)
    if size != usual_size and not (folder / "meta.json").is_file():
        raise DataError(f"dataset '{dataset.info.name}' is not packed at {size} pixels here; reproduce the run first")
    return Packed(ensure_packed(dataset, size))


def _pool(dataset: Dataset, size: int, usual_size: int) -> Packed | StreamIndex:
    """The pool; a stream only where it is indexed, as that decodes every image of it."""
    if not isinstance(dataset, StreamedDataset):
        return _packed(dataset, size, usual_size)
    if not index_folder(dataset, size).is_dir():
        raise DataError(f"pool '{dataset.info.name}' is not indexed at {size} pixels here; reproduce the run first")
    return ensure_index(dataset, size)


def _check_fingerprints(cell: Cell, recorded: dict[str, str], plan: SplitPlan, tested: Packed) -> None:
    # The record's "unlabeled" is that of a pool of its own, its "test" that of another set that is tested.
    replaced = {"unlabeled" if cell.pool else "", "test" if cell.test_on else ""}
    present = {**plan.fingerprints, "test_data": tested.fingerprint}
    compared = [name for name in present if name in recorded and name not in replaced]
    other = [name for name in compared if present[name] != recorded[name]]
    if other:
        raise DataError(f"the data set here is not the one of the record: {', '.join(other)} differ")
