from ferbench.records.plans import Plan, read_plans, write_plan
from ferbench.records.progress import progress_of
from ferbench.records.store import RunStore
from tests.support.command import call
from tests.unit.records.factory import make_cell, write_record


def plan_of(*seeds: int, made_at: str = "2026-01-01T00:00:00+00:00") -> Plan:
    cells = tuple(make_cell(seed=seed) for seed in seeds)
    return Plan(command=("run", "--method", "fixmatch"), executor="local", slots=2, made_at=made_at, cells=cells)


def test_what_was_asked_for_and_has_not_begun_waits(tmp_path):
    write_record(tmp_path, make_cell(seed=0))
    write_plan(tmp_path, plan_of(0, 1, 2))
    store = RunStore(tmp_path)
    with store.lock(make_cell(seed=1)):
        found = progress_of(store)
    (counts,) = found.counts.values()
    assert counts == {"done": 1, "running": 1, "waiting": 1}
    assert found.seconds >= 90.0, "running cells count too"
    assert found.eta == 2 * 90.0  # two cells are left, one at a time
    (running,) = found.running
    assert running.cell == make_cell(seed=1)


def test_status_says_how_waiting_cells_start_where_none_runs(tmp_path):
    store = RunStore(tmp_path)
    write_plan(tmp_path, plan_of(0, 1).model_copy(update={"command": ("run", "--method", "my  own")}))
    with store.lock(make_cell(seed=0)):
        assert "ferbench run" not in call("status", "--runs", str(tmp_path)).out
    assert "ferbench run --method 'my  own'\n" in call("status", "--runs", str(tmp_path)).out
    write_plan(tmp_path, plan_of(0, 1).model_copy(update={"command": ()}))
    assert "ferbench.run in Python" in call("status", "--runs", str(tmp_path)).out
    for seed in (0, 1):
        write_record(tmp_path, make_cell(seed=seed))
    assert "ferbench run" not in call("status", "--runs", str(tmp_path)).out


def test_the_same_cells_asked_for_again_are_one_plan(tmp_path):
    first = write_plan(tmp_path, plan_of(0, 1))
    assert write_plan(tmp_path, plan_of(0, 1, made_at="2026-01-02T00:00:00+00:00")) == first
    assert write_plan(tmp_path, plan_of(1)) != first
    assert [len(plan.cells) for plan in read_plans(tmp_path)] == [1, 2]


def test_what_is_no_plan_is_passed_over(tmp_path):
    write_plan(tmp_path, plan_of(0))
    (tmp_path / ".plans" / "other.json").write_text('{"cells": 1}')
    (tmp_path / ".plans" / "half.json").write_text("{")
    assert len(list(read_plans(tmp_path))) == 1
    assert list(read_plans(tmp_path / "nothing")) == []
