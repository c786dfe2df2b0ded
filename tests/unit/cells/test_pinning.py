"""What is pinned of a dataset is what its data gives."""

from pathlib import Path

import pytest

from ferbench.cells.known import known, known_protocols
from ferbench.cells.pinning import budgets_of, pin, pinned
from ferbench.cells.resolve import resolve
from ferbench.cells.select import DataNeeds, select
from ferbench.discovery.loader import load_registry
from ferbench.errors import DataError, UsageError
from ferbench.records.cell import Budget, Cell
from ferbench.records.known import read_baselines, read_pins, split_key
from ferbench.records.names import RowName
from ferbench.records.store import read_record

BOARD = Path(__file__).parents[3] / "leaderboard"


def test_every_record_of_the_board_has_a_pinned_split() -> None:
    pins = read_pins(BOARD)
    keys = {split_key(read_record(path).cell) for path in (BOARD / "records").rglob("record.json")}
    assert len(keys) == 25
    assert keys <= pins["synthfaces"].splits.keys()


def test_every_budget_of_a_protocol_is_pinned_for_every_seed() -> None:
    pins, registry = read_pins(BOARD)["synthfaces"], load_registry()
    protocol = known_protocols(registry)["ratio-v1"]
    assert len(budgets_of(protocol)) == 5
    keys = {f"ratio-v1/synthfaces/{budget.label()}/seed{seed}" for budget in budgets_of(protocol) for seed in range(5)}
    assert keys <= pins.splits.keys()
    counts = budgets_of(known_protocols(registry)["count-v1"])
    assert Budget(per_class=25) in counts
    assert Budget(count=400, allocation="adacm") in counts
    assert len(counts) == 5 * 3 + 4


@pytest.mark.slow
def test_the_pins_are_what_the_data_gives() -> None:
    """Two of five hundred splits; `ferbench leaderboard pin` gives them all."""
    pins, registry = read_pins(BOARD)["synthfaces"], load_registry()
    for budget, task, seed in ((Budget(ratio="0.05"), "7", 0), (Budget(ratio="0.1"), "8", 3)):
        cell = Cell(
            protocol="ratio-v1",
            dataset="synthfaces",
            classes=task,
            budget=budget,
            method="any",
            backbone="any",
            seed=seed,
        )
        data = select(resolve(cell, registry), needs=DataNeeds())
        assert data.fingerprints.data == pins.data
        assert pinned(data) == pins.splits[split_key(cell)]


def test_baselines_are_supervised_rows() -> None:
    baselines = read_baselines(BOARD)
    assert len(baselines) == 35
    assert {RowName.parse(Path(folder).parent.parent.name).method for folder in baselines} == {"supervised"}


@pytest.mark.parametrize("content", ["{", "[]", '{"dataset": "x"}', '{"a": 1}'])
def test_a_file_that_pins_nothing_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "pinned").mkdir()
    (tmp_path / "pinned" / "faces.json").write_text(content)
    (tmp_path / "baselines.json").write_text(content)
    with pytest.raises(DataError, match=r"faces\.json: .*from the repository"):
        known(load_registry(), tmp_path)
    if content != '{"dataset": "x"}':  # which lists one
        with pytest.raises(DataError, match=r"baselines\.json: .*from the repository"):
            read_baselines(tmp_path)


def test_a_set_that_is_not_there_cannot_be_pinned() -> None:
    with pytest.raises(UsageError, match="no-such-faces"):
        pin(load_registry(), "no-such-faces", [], "here")
