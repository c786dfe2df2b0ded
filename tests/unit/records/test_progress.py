import pytest

from ferbench.records.progress import progress_of
from ferbench.records.store import RunStore
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


def test_an_empty_folder(tmp_path):
    assert progress_of(RunStore(tmp_path)).counts == {}
