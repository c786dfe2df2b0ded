"""Which cells of a runs folder may be submitted to a board, and why the others may not."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ferbench.contract.protocol import Protocol
from ferbench.records.cell import Cell
from ferbench.records.checks import why_not_standard
from ferbench.records.schema import Record
from ferbench.records.verification import Verification

LASTING = ("ok", "diverged")
"""Final statuses of a cell: another run of it would end the same."""


@dataclass(frozen=True)
class Submission:
    """Accepted cells and reasons of refused ones, both by the folder of the record."""

    cells: Mapping[Path, Record]
    refused: Mapping[Path, str]

    @property
    def rows(self) -> list[PurePosixPath]:
        """The folders of the accepted rows, relative to a board's records, sorted."""
        return sorted({_row(record.cell) for record in self.cells.values()})


def submission(found: Iterable[Verification], protocols: Mapping[str, Protocol], board: Iterable[Record]) -> Submission:
    """Accept the verified records that are standard, final, and have all seeds of their protocol.

    `board` are the records that are already on the board; they count as seeds of a row, and a result among them is not
    replaced by a record without one.
    """
    cells: dict[Path, Record] = {}
    refused: dict[Path, str] = {}
    on_board = list(board)
    there, results = [each.cell for each in on_board], {each.cell_id for each in on_board if each.result is not None}
    for each in found:
        if reason := _reason(each, protocols) or _loss(each, results):
            refused[each.path.parent] = reason
        elif each.record is not None:
            cells[each.path.parent] = each.record
    for reasons in (_without_all_seeds(cells, protocols, there), _without_base(cells, there)):
        refused |= reasons
        cells = {folder: record for folder, record in cells.items() if folder not in reasons}
    return Submission(cells, refused)


def _reason(each: Verification, protocols: Mapping[str, Protocol]) -> str:
    """Why a record is refused, regardless of the other records; empty if it is accepted."""
    record = each.record
    if record is None or not each.holds:
        return "; ".join(each.verdict.failures)
    if record.status not in LASTING:
        return f"it ended as '{record.status}'; run it again"
    if record.config.protocol.get("draft"):
        return f"protocol {record.cell.protocol} is a draft; submit once it is final"
    if record.cell.protocol not in protocols:
        return f"the protocol '{record.cell.protocol}' is not installed; install the plugin that has it"
    if not record.standard:
        why = why_not_standard(record, protocols[record.cell.protocol])
        return f"it is not standard ({why}); run the standard protocol without --set"
    return ""


def _loss(each: Verification, results: Set[str]) -> str:
    """Why a record without a result is refused if the board has a result of its cell."""
    if each.record is None or each.record.result is not None or each.record.cell_id not in results:
        return ""
    return f"it ended as '{each.record.status}', but the board has a result of this cell, which stays"


def _row(cell: Cell) -> PurePosixPath:
    return cell.folder().parent


def _without_all_seeds(
    cells: Mapping[Path, Record], protocols: Mapping[str, Protocol], board: Sequence[Cell]
) -> dict[Path, str]:
    seeds: dict[PurePosixPath, set[int]] = defaultdict(set)
    for cell in [*board, *(record.cell for record in cells.values())]:
        seeds[_row(cell)].add(cell.seed)
    reasons = {}
    for folder, record in cells.items():
        if missing := sorted(set(protocols[record.cell.protocol].seeds) - seeds[_row(record.cell)]):
            names = ", ".join(map(str, missing))
            reasons[folder] = f"its row has no accepted record of seed {names}; run all seeds of {record.cell.protocol}"
    return reasons


def _without_base(cells: Mapping[Path, Record], board: Sequence[Cell]) -> dict[Path, str]:
    """Refused cells that test on another dataset, because the cell that trained their model is missing."""
    there = {cell.folder() for cell in [*board, *(record.cell for record in cells.values())]}
    return {
        folder: f"submit it together with {record.cell.base.folder()}, which trained its model"
        for folder, record in cells.items()
        if record.cell.test_on and record.cell.base.folder() not in there
    }
