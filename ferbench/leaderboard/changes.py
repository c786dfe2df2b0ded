"""The changes between two boards, each read from its leaderboard.json."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from tabulate import tabulate

from ferbench.contract.protocol import Headline
from ferbench.errors import VerificationError
from ferbench.leaderboard.exports import PLACE
from ferbench.leaderboard.statistics import Spread
from ferbench.leaderboard.wording import mean_text
from ferbench.records.dotted import flat
from ferbench.records.files import read_bounded
from ferbench.records.metrics import BY_KEY
from ferbench.records.schema import first_problem, parse_json
from ferbench.render.escape import LONG, markdown
from ferbench.render.numbers import NONE

MAX_BOARD_BYTES = 50_000_000
HEADS = ("change", "row", "before", "after", "table", "differs")


class EditionRow(BaseModel):
    """A row of a board, perhaps written by another version: fields not listed here are compared unchanged."""

    model_config = ConfigDict(extra="allow")

    method: str
    title: str
    metrics: dict[str, Spread] = {}


class EditionTable(BaseModel):
    """A table of such a board."""

    model_config = ConfigDict(extra="allow")

    headline: Headline
    rows: list[EditionRow]
    test_images: dict[str, int] = {}

    @cached_property
    def place(self) -> tuple[str, ...]:
        """The values by which the table is found in another board. Tables of other test images or folds share them."""
        fields = self.model_dump(include=set(PLACE))
        return (*(str(fields.get(name)) for name in PLACE), *self.test_images)

    @cached_property
    def title(self) -> str:
        """The parts of its place that are set: `dataset synthfaces, classes 7, ..., data 0123456789ab`."""
        fields = self.model_dump(include=set(PLACE))
        names = ("dataset", "classes", "budget", "pool", "test_on", "protocol", "backbone", "init", "overrides")
        shown = ", ".join(f"{name.replace('_', ' ')} {fields[name]}" for name in names if fields.get(name))
        return f"{shown}, data {str(fields.get('data'))[:12]}"

    def score(self, number: int) -> str:
        """`#1: 71.2 ± 2.5`: place and headline of the row at this index."""
        return f"#{number + 1}: {mean_text(BY_KEY[self.headline], self.rows[number].metrics.get(self.headline))}"


class EditionFile(BaseModel):
    """A leaderboard.json."""

    records: int
    tables: list[EditionTable]


@dataclass(frozen=True)
class Change:
    """A row that is new, gone or changed: place and score before and after, and the names of all changed fields."""

    table: str
    row: str
    kind: Literal["new", "gone", "changed"]
    before: str
    after: str
    fields: tuple[str, ...] = ()


def read_edition(path: Path) -> EditionFile:
    """Read a leaderboard.json of any origin; raises VerificationError that names the file for every defect."""
    try:
        return EditionFile.model_validate(parse_json(read_bounded(path, MAX_BOARD_BYTES), MAX_BOARD_BYTES))
    except ValidationError as error:
        problem = first_problem(error)
    except VerificationError as error:
        problem = str(error)
    remedy = "name a leaderboard.json that `ferbench leaderboard build` wrote"
    raise VerificationError(f"{path}: {problem}; {remedy}")


def changes(before: EditionFile, after: EditionFile) -> Iterator[Change]:
    """Changes row by row, in the order of the boards: new and changed rows by table, then the rows that are gone."""
    pairs = _pairs(before.tables, after.tables)
    for new in after.tables:
        yield from _of_table(next((old for old, other in pairs if other is new), None), new)
    for old in before.tables:
        kept = {row.method for one, new in pairs if one is old for row in new.rows}
        for number, row in enumerate(old.rows):
            if row.method not in kept:
                yield Change(old.title, row.title, "gone", old.score(number), NONE)


def lines_of(found: Iterable[Change]) -> list[tuple[str, ...]]:
    """The lines of a table of changes; texts are not escaped."""
    return [(each.kind, each.row, each.before, each.after, each.table, ", ".join(each.fields)) for each in found]


def as_markdown(found: Iterable[Change]) -> str:
    """A Markdown table of changes with all texts escaped, or a sentence if there are none."""
    lines = [[markdown(text, LONG) for text in line] for line in lines_of(found)]
    return tabulate(lines, HEADS, tablefmt="github", disable_numparse=True) if lines else "No row changes."


def _pairs(before: Sequence[EditionTable], after: Sequence[EditionTable]) -> list[tuple[EditionTable, EditionTable]]:
    """The tables that both boards have. Of several at one place, those with equal test images belong together."""
    pairs: list[tuple[EditionTable, EditionTable]] = []
    for strict in (True, False):
        free = [old for old in before if not any(old is one for one, _ in pairs)]
        for new in after:
            if any(new is other for _, other in pairs):
                continue
            at_place = [old for old in free if old.place == new.place]
            found = next((old for old in at_place if not strict or old.test_images == new.test_images), None)
            if found is not None:
                pairs.append((found, new))
                free = [old for old in free if old is not found]
    return pairs


def _of_table(old: EditionTable | None, new: EditionTable) -> Iterator[Change]:
    known = {row.method: number for number, row in enumerate(old.rows)} if old else {}
    for number, row in enumerate(new.rows):
        if old is None or row.method not in known:
            yield Change(new.title, row.title, "new", NONE, new.score(number))
            continue
        earlier = known[row.method]
        fields = tuple(_differing(old.rows[earlier], row))
        if fields or earlier != number:
            yield Change(new.title, row.title, "changed", old.score(earlier), new.score(number), fields)


def _differing(before: EditionRow, after: EditionRow) -> Iterator[str]:
    one, other = (dict(_flat(row)) for row in (before, after))
    missing = object()
    for name in sorted(one.keys() | other.keys()):
        if one.get(name, missing) != other.get(name, missing):
            yield name


def _flat(row: EditionRow) -> Iterator[tuple[str, Any]]:
    values: Mapping[str, Any] = row.model_dump(mode="json")
    return flat(values)
