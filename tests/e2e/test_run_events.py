"""Run events: what plugins hear of a cell, and the logger that docs/plugins.md shows, taken from there and used."""

import importlib
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ferbench
from ferbench.errors import InterruptedRun
from ferbench.execution.stopping import StopRequests
from ferbench.records.cell_log import CELL_LOG
from tests.support.command import call

PAGE = Path(__file__).parents[2] / "docs" / "plugins.md"
LISTENER = """
from ferbench.hookspecs import hookimpl

heard = []


@hookimpl
def ferbench_run_started(cell, folder, config):
    heard.append(("started", cell, folder, config))


@hookimpl
def ferbench_step_taken(cell, step):
    heard.append(("step", cell, step))


@hookimpl
def ferbench_epoch_finished(cell, epoch):
    heard.append(("epoch", cell, epoch))


@hookimpl
def ferbench_run_interrupted(cell, reason):
    heard.append(("interrupted", cell, reason))


@hookimpl
def ferbench_run_finished(cell, folder, record):
    heard.append(("finished", cell, folder, record))
"""
SERVICE = '''
"""As wandb, but it keeps what it is told."""
opened = []


class Run:
    def __init__(self, project, id, resume, name=None, config=None):
        self.id, self.name, self.config, self.logged, self.summary, self.ended = id, name, config, [], {}, None
        opened.append(self)

    def log(self, values, step):
        self.logged.append((step, values))

    def finish(self, exit_code):
        self.ended = exit_code


init = Run
'''
Installed = Callable[[str], Any]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installed:
    """Installs a plugin, and the service that it may use, for this process; gives the module of the plugin."""

    def install(source: str) -> Any:
        folder, info = tmp_path / "site", tmp_path / "site" / "ferbench_logger-1.0.dist-info"
        info.mkdir(parents=True)
        (folder / "ferbench_logger.py").write_text(source)
        (folder / "wandb.py").write_text(SERVICE)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ferbench-logger\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[ferbench]\nlogger = ferbench_logger\n")
        monkeypatch.syspath_prepend(folder)
        monkeypatch.setenv("FERBENCH_PLUGINS", "ferbench-logger")
        monkeypatch.setenv("FERBENCH_STRICT_PLUGINS", "1")
        for name in ("ferbench_logger", "wandb"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        return importlib.import_module("ferbench_logger")

    return install


def run(patterns: Path, runs: Path, **overrides: Any) -> Any:
    settings = {"steps": 20, "image_size": 16, "labeled_batch": 4, "unlabeled_batch": 4, "threshold": 0.7, **overrides}
    return ferbench.run(
        method="fixmatch", dataset=str(patterns), ratio=0.1, backbone="small-resnet/4", device="cpu",
        executor="inline", runs=runs, overrides=settings,
    )  # fmt: skip


def logger_of_the_docs() -> str:
    shown = PAGE.read_text("utf-8").partition("## A logger\n")[2]
    (code,) = re.findall(r"```python\n(.+?)```", shown, re.DOTALL)
    return code


def test_a_cell_is_told_from_its_configuration_to_its_record(
    installed: Installed, patterns: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ferbench.training.stopwatch.TICK_SECONDS", 0.0)
    heard = installed(LISTENER).heard
    (record,) = run(patterns, tmp_path / "runs")
    folder = tmp_path / "runs" / record.cell.folder()
    assert {event[1] for event in heard} == {record.cell}
    (_, _, place, config), *between, (_, _, where, last) = [*heard]
    assert (place, where, last) == (folder, folder, record)
    assert config.method == record.config.method and config.method["threshold"] == 0.7
    assert config.protocol == record.config.protocol and config.protocol["steps"] == 20
    steps = [event[2] for event in between if event[0] == "step"]
    assert [step.step for step in steps] == list(range(21)) and {step.steps for step in steps} == {20}
    history = json.loads((folder / "history.json").read_text())
    epochs = [event[2] for event in between if event[0] == "epoch"]
    assert [epoch.loss for epoch in epochs] == [row["loss"] for row in history]
    # What is made from hidden labels is in the history alone.
    assert {epoch.pseudo_label_precision for epoch in epochs} == {None} == {epoch.evaluation for epoch in epochs}
    assert "pseudo_label_precision" in history[0]


def test_an_interruption_is_told_once_the_cell_is_saved(
    installed: Installed, patterns: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = installed(LISTENER).heard
    with monkeypatch.context() as stopped, pytest.raises(InterruptedRun):
        stopped.setattr(StopRequests, "__call__", lambda self: InterruptedRun("the node is needed"))
        run(patterns, tmp_path / "runs")
    assert [event[0] for event in heard if event[0] not in ("step", "epoch")] == ["started", "interrupted"]
    assert heard[-1][2] == "the node is needed"
    assert list(tmp_path.rglob("checkpoint.safetensors"))
    run(patterns, tmp_path / "runs")
    assert heard[-1][0] == "finished"


def test_the_log_of_a_cell_begins_with_its_configuration(installed: Installed, patterns: Path, tmp_path: Path) -> None:
    (record,) = run(patterns, tmp_path / "runs")
    lines = (tmp_path / "runs" / record.cell.folder() / CELL_LOG).read_text().splitlines()
    first, *_, last = map(json.loads, lines)
    assert first["kind"] == "started" and first["config"]["method"]["threshold"] == 0.7
    assert last["kind"] == "finished" and last["metrics"]["accuracy"] == record.result.metrics.accuracy
    assert call("logs", "fixmatch", "--runs", str(tmp_path / "runs")).out.splitlines()[0].endswith("started")


def test_the_logger_of_the_docs_works(installed: Installed, patterns: Path, tmp_path: Path) -> None:
    installed(logger_of_the_docs())
    (record,) = run(patterns, tmp_path / "runs")
    (logged,) = importlib.import_module("wandb").opened
    assert logged.config["method"]["threshold"] == 0.7
    losses = [values["loss"] for _, values in logged.logged]
    history = json.loads((tmp_path / "runs" / record.cell.folder() / "history.json").read_text())
    assert losses == [row["loss"] for row in history]
    assert [step for step, _ in logged.logged] == [row["step"] for row in history]
    assert [values["mask rate"] for _, values in logged.logged] == [row["mask_rate"] for row in history]
    assert logged.summary["accuracy"] == record.result.metrics.accuracy
    assert logged.ended == 0


def test_the_logger_of_the_docs_hears_of_failures(installed: Installed, patterns: Path, tmp_path: Path) -> None:
    installed(logger_of_the_docs())
    (record,) = run(patterns, tmp_path / "runs", learning_rate=1e30)
    assert record.status == "diverged"
    (logged,) = importlib.import_module("wandb").opened
    assert (logged.summary, logged.ended) == ({}, 1)
