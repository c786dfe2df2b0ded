import json
from datetime import UTC, datetime, timedelta

import pytest

from ferbench.contract.events import Step, event_line
from ferbench.records.cell_log import CELL_LOG
from ferbench.records.plans import Plan, write_plan
from ferbench.records.progress import progress_of
from ferbench.records.store import RunningMarker, RunStore, ask_to_stop
from tests.unit.records.factory import make_cell, write_failure, write_record


def test_everything_is_counted_once(tmp_path):
    store = RunStore(tmp_path)
    for seed in range(2):
        write_record(tmp_path, make_cell(seed=seed))
    write_failure(tmp_path, make_cell(seed=2))
    write_failure(tmp_path, make_cell(seed=3), status="timeout")
    write_failure(tmp_path, make_cell(seed=4), status="interrupted")
    with pytest.raises(KeyboardInterrupt), store.lock(make_cell(seed=5)):
        raise KeyboardInterrupt
    broken = write_record(tmp_path, make_cell("supervised"))
    broken.write_text("{")
    with store.lock(make_cell(seed=6)):
        found = progress_of(store)
    (series,) = found.counts
    assert (series.row, series.budget.label(), series.dataset) == ("fixmatch", "ratio-0.05", "synthfaces")
    assert found.counts[series] == {"done": 2, "failed": 2, "interrupted": 2, "running": 1}
    assert len(found.failures) == 3
    assert "diverged: DivergedError: loss is not finite (step 17)" in found.failures.values()
    assert list(found.broken) == [broken]


def test_a_failure_that_is_being_run_again_runs(tmp_path):
    store = RunStore(tmp_path)
    write_failure(tmp_path, make_cell())
    with store.lock(make_cell()):
        assert [dict(counts) for counts in progress_of(store).counts.values()] == [{"running": 1}]


def test_an_attempt_that_failed_is_a_failure(tmp_path):
    store = RunStore(tmp_path)
    write_failure(tmp_path, make_cell())
    with pytest.raises(RuntimeError), store.lock(make_cell()):
        raise RuntimeError
    assert [dict(counts) for counts in progress_of(store).counts.values()] == [{"failed": 1}]


def test_what_is_requested_again_waits_until_it_is_tried(tmp_path):
    store, cells = RunStore(tmp_path), [make_cell(seed=seed) for seed in range(3)]
    for cell in cells[:2]:
        write_failure(tmp_path, cell)
    with pytest.raises(KeyboardInterrupt), store.lock(cells[2]):
        raise KeyboardInterrupt
    made_at = {"before": "2020-01-01T00:00:00+00:00", "after": "2099-01-01T00:00:00+00:00"}
    plan = Plan(command=("run",), executor="local", slots=1, made_at=made_at["before"], cells=tuple(cells))
    write_plan(tmp_path, plan)
    assert list(progress_of(store).counts.values()) == [{"failed": 2, "interrupted": 1}]
    write_plan(tmp_path, plan.model_copy(update={"made_at": made_at["after"]}))
    ask_to_stop(store.folder(cells[0]))
    found = progress_of(store)
    assert list(found.counts.values()) == [{"failed": 1, "waiting": 2}]
    assert list(found.failures) == [store.folder(cells[0])]
    assert found.asked == (("run",),)


def test_time_left_by_the_steps_of_what_runs_and_then_by_what_has_ended(tmp_path):
    store, cells = RunStore(tmp_path), [make_cell(seed=seed) for seed in range(4)]
    plan = Plan(command=("run",), executor="local", slots=1, made_at="2026-01-01", cells=tuple(cells))
    write_plan(tmp_path, plan)
    with store.lock(cells[0]) as lease:
        assert progress_of(store).eta is None
        began = (datetime.now(UTC) - timedelta(seconds=100)).isoformat(timespec="seconds")
        marker = RunningMarker.read(lease.folder / "running.json").model_copy(update={"started_at": began})
        (lease.folder / "running.json").write_text(marker.model_dump_json())
        for seconds, step in ((100, 0), (0, 50)):
            moment = datetime.now(UTC) - timedelta(seconds=seconds)
            line = {"time": moment.isoformat(), **json.loads(event_line(Step(step=step, steps=200)))}
            with (lease.folder / CELL_LOG).open("a") as log:
                log.write(json.dumps(line) + "\n")
        found = progress_of(store)
        # A quarter took 100 s: three quarters of it and three more cells are left.
        assert found.pace == pytest.approx(400, rel=0.05)
        assert found.eta == pytest.approx(3.75 * 400, rel=0.05)
        assert found.seconds == pytest.approx(100, abs=5)
        write_record(tmp_path, cells[1])  # 91 s
        assert progress_of(store).eta == pytest.approx(2.75 * 91)
        assert progress_of(store).seconds == pytest.approx(191, abs=5)


def test_an_empty_folder(tmp_path):
    assert progress_of(RunStore(tmp_path)).counts == {}
