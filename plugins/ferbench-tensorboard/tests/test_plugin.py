"""Event files as TensorBoard itself reads them."""

import subprocess
import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tests.support.command import call
from tests.support.command import succeed as ferbench

from ferbench.errors import InterruptedRun
from ferbench.execution.stopping import StopRequests
from ferbench.records.history import HISTORY, read_history
from ferbench.records.schema import Record
from ferbench.records.store import RunStore, read_record
from ferbench_tensorboard.log import Logs, numbers

GRID = (
    "run", "--method", "fixmatch", "--ratio", "0.1", "--backbone", "small-resnet/4", "--device", "cpu", "--executor",
    "inline", "--set", "steps=20", "--set", "image_size=16", "--set", "labeled_batch=6", "--set", "unlabeled_batch=8",
)  # fmt: skip


def read(folder: Path) -> EventAccumulator:
    """What TensorBoard finds in a folder of event files."""
    found = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    found.Reload()
    return found


def only_record(runs: Path) -> tuple[Path, Record]:
    ((path, record),) = RunStore(runs).iterate()
    assert isinstance(record, Record)
    return path.parent, record


@pytest.fixture(autouse=True)
def this_plugin_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FERBENCH_PLUGINS", "ferbench-tensorboard")
    monkeypatch.setenv("FERBENCH_STRICT_PLUGINS", "1")


def test_a_run_is_shown_live_and_its_test_metrics_after_the_record(patterns: Path, tmp_path: Path) -> None:
    ferbench(*GRID, "--dataset", str(patterns), "--runs", str(tmp_path))
    folder, record = only_record(tmp_path)
    found = read(folder / "tensorboard")
    history = read_history(folder / HISTORY)
    losses = [(event.step, event.value) for event in found.Scalars("loss")]
    assert losses == [(row.step, pytest.approx(row.loss, rel=1e-6)) for row in history]
    masks = [event.value for event in found.Scalars("mask_rate")]
    assert masks == pytest.approx([row.mask_rate for row in history], rel=1e-6)
    assert {"terms/supervised", "terms/unlabeled", "learning_rate"} <= set(found.Tags()["scalars"])
    (config,) = found.Tensors("config/text_summary")
    text = config.tensor_proto.string_val[0].decode()
    assert '"threshold"' in text and '"learning_rate"' in text
    assert record.result is not None
    (accuracy,) = found.Scalars("test/accuracy")
    assert (accuracy.step, accuracy.value) == (20, pytest.approx(record.result.metrics.accuracy, rel=1e-6))
    # TensorBoard's tab HParams wants both in one folder.
    together = read(folder / "tensorboard" / "test")
    assert "_hparams_/session_start_info" in together.summary_metadata
    assert together.Scalars("test/accuracy")[0].value == accuracy.value


def test_files_that_are_opened_within_a_second_do_not_replace_each_other(patterns: Path, tmp_path: Path) -> None:
    ferbench(*GRID, "--dataset", str(patterns), "--runs", str(tmp_path))
    _, record = only_record(tmp_path)
    logs = Logs()
    for _ in range(5):
        logs.begin(record.cell, tmp_path / "again", record.config)
    logs.close(record.cell)
    assert len(list((tmp_path / "again" / "tensorboard").iterdir())) == 5


def test_the_process_that_trains_writes_no_test_metric_and_no_precision(patterns: Path, tmp_path: Path) -> None:
    ferbench(*GRID, "--dataset", str(patterns), "--runs", str(tmp_path))
    folder, _ = only_record(tmp_path)
    first = min((folder / "tensorboard").glob("events.*"), key=lambda path: path.stat().st_mtime_ns)
    tags = set(read(first).Tags()["scalars"])
    assert "loss" in tags
    assert not [tag for tag in tags if "test" in tag or "precision" in tag or "accuracy" in tag]


def test_an_interruption_is_told(patterns: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as stopped:
        stopped.setattr(StopRequests, "__call__", lambda self: InterruptedRun("the node is needed"))
        assert call(*GRID, "--dataset", str(patterns), "--runs", str(tmp_path)).code == 130
    (folder,) = tmp_path.rglob("tensorboard")
    (reason,) = read(folder).Tensors("interrupted/text_summary")
    assert reason.tensor_proto.string_val == [b"the node is needed"]
    ferbench(*GRID, "--dataset", str(patterns), "--runs", str(tmp_path))
    assert read_record(folder.parent / "record.json").status == "ok"
    assert read(folder).Scalars("test/accuracy")


def test_a_cell_that_fails_leaves_its_curves_and_no_test_metric(patterns: Path, tmp_path: Path) -> None:
    assert call(*GRID, "--dataset", str(patterns), "--runs", str(tmp_path), "--set", "learning_rate=1e30").code == 1
    folder, record = only_record(tmp_path)
    assert record.status == "diverged"
    assert not [tag for tag in read(folder / "tensorboard").Tags()["scalars"] if tag.startswith("test/")]


def test_rows_become_tags() -> None:
    row = {
        "epoch": 1,
        "stage": "train",
        "step": 3,
        "loss": 2,
        "head": {"scale": 1.5},
        "mask_rate_per_class": [0.5, None],
    }
    assert dict(numbers(row)) == {"loss": 2.0, "head/scale": 1.5, "mask_rate_per_class/0": 0.5}


@pytest.mark.process
def test_the_hooks_import_nothing_heavy() -> None:
    heavy = "{'torch', 'pandas', 'pydantic', 'tensorboardX', 'numpy'}"
    code = f"import sys, ferbench_tensorboard.plugin; print({heavy} & sys.modules.keys())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
