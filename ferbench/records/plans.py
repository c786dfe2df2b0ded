"""Plans in a runs folder: they list the requested cells, so that `status` also knows those that have not started."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from ferbench.errors import VerificationError
from ferbench.records.cell import Cell, digest
from ferbench.records.files import read_bounded, write_atomic

PLANS = ".plans"
MAX_PLAN_BYTES = 2**28
"""Room for about 400,000 cells."""


class Plan(BaseModel):
    """The cells of one call, with the arguments of `ferbench`; a call from Python has none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    command: tuple[str, ...]
    executor: str
    slots: int
    made_at: str
    cells: tuple[Cell, ...]


def plan_file(root: Path, cells: Sequence[Cell]) -> Path:
    """Return the path of the plan of these cells; a repeated call uses the same path."""
    return root / PLANS / f"{digest([cell.cell_id for cell in cells])[:16]}.json"


def write_plan(root: Path, plan: Plan) -> Path:
    """Write a plan into a runs folder and return its path."""
    path = plan_file(root, plan.cells)
    write_atomic(path, plan.model_dump_json().encode())
    return path


def read_plans(root: Path) -> Iterator[Plan]:
    """Yield the plans of a runs folder, oldest first; files that are not valid plans are skipped."""
    found = []
    for path in sorted((root / PLANS).glob("*.json")):
        with suppress(VerificationError, ValidationError):
            found.append(Plan.model_validate_json(read_bounded(path, MAX_PLAN_BYTES)))
    yield from sorted(found, key=lambda plan: plan.made_at)
