"""The images of a record, if its dataset is on this machine: opened, split again and compared with the record."""

from dataclasses import dataclass

from ferbench.cells.resolve import resolve
from ferbench.cells.select import CellData, DataNeeds, Policy, select
from ferbench.contract.dataset import Dataset
from ferbench.contract.protocol import Recipe
from ferbench.data.sources import open_dataset
from ferbench.discovery.registry import Registry
from ferbench.errors import DataError
from ferbench.records.reproduction import Sources
from ferbench.records.schema import Record

# Records are untrusted: within these bounds any recipe is cheap to draw.
MAX_IMAGE_SIZE = 512
MAX_OPERATIONS = 16


@dataclass(frozen=True)
class LocalData:
    """The images that a record was made with, the recipe of its views, and the trained classes."""

    data: CellData
    recipe: Recipe
    class_names: tuple[str, ...]


def open_data(
    record: Record, registry: Registry, dataset: Dataset | None = None, test_set: Dataset | None = None
) -> LocalData:
    """Select the record's images again; raises FerbenchError with reason and remedy if that fails.

    `dataset` and `test_set` (the other dataset that the record is tested on) are opened by name if they are None.
    Images are packed only at the protocol's own size, because an untrusted record may name any size.
    """
    cell = record.cell
    given = {cell.dataset: dataset, cell.test_on: test_set}

    def opened(name: str) -> Dataset:
        return given.get(name) or open_dataset(registry, name)

    resolved = resolve(cell, registry, Sources(), opened=opened)
    recipe = resolved.recipe
    if max(recipe.image_size, recipe.packed_size) > MAX_IMAGE_SIZE or recipe.strong.operations > MAX_OPERATIONS:
        raise DataError(
            f"the record's recipe has images larger than {MAX_IMAGE_SIZE} pixels or more than {MAX_OPERATIONS} "
            "operations per view, which a report does not draw"
        )
    recorded = record.result.fingerprints if record.result else None
    data = select(resolved, Policy.USUAL_SIZE, DataNeeds.recorded(recorded))
    if recorded is not None and (other := data.fingerprints.differences(recorded)):
        raise DataError(f"the dataset on this machine is not the record's: {', '.join(other)} differ")
    return LocalData(data, recipe, resolved.class_names)
