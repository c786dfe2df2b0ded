"""The executor that docs/plugins.md shows, taken from there and used; and executors that lie."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from ferbench.records.schema import Record
from ferbench.records.store import RunStore
from tests.e2e.conftest import Ferbench
from tests.unit.test_docs import section

REGISTERS = """
from ferbench.hookspecs import hookimpl


@hookimpl
def ferbench_register_executors(register):
    {executors}


@hookimpl
def ferbench_register_methods(register):
    register("crash", "ferbench_queue.method:Crash", summary="Ends its process")
"""
METHOD = """
import os

from ferbench.builtin.methods.supervised import Supervised


class Crash(Supervised):
    def loss(self, batch):
        print("out of luck", flush=True)
        os.abort()
"""
SLY = """
from ferbench.contract.executor import Executor


class Lies(Executor):
    def run(self, jobs, progress, slots):
        return ["ok"] * len(jobs)


class Short(Executor):
    def run(self, jobs, progress, slots):
        return []
"""
GRID = (
    "--ratio=0.1", "--backbone=small-resnet/4", "--set=steps=20", "--set=image_size=16", "--set=labeled_batch=6",
    "--device=cpu",
)  # fmt: skip

Install = Callable[..., dict[str, str]]


@pytest.fixture
def install(tmp_path: Path) -> Install:
    """Lay out a distribution with an executor's module, as pip would; returns the environment in which it is found."""

    def lay_out(executor: str, **names: str) -> dict[str, str]:
        site = tmp_path / "site"
        calls = [
            f'register("{name}", "ferbench_queue.executor:{target}", summary="x")' for name, target in names.items()
        ]
        files = {
            "ferbench_queue/__init__.py": "",
            "ferbench_queue/plugin.py": REGISTERS.format(executors="\n    ".join(calls)),
            "ferbench_queue/executor.py": executor,
            "ferbench_queue/method.py": METHOD,
            "ferbench_queue-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: ferbench-queue\nVersion: 1.0\n",
            "ferbench_queue-1.0.dist-info/entry_points.txt": "[ferbench]\nqueue = ferbench_queue.plugin\n",
        }
        for name, text in files.items():
            (site / name).parent.mkdir(parents=True, exist_ok=True)
            (site / name).write_text(text)
        paths = [str(site), str(Path(__file__).parents[2])]
        return {"PYTHONPATH": ":".join(paths), "FERBENCH_PLUGINS": "queue", "FERBENCH_STRICT_PLUGINS": "1"}

    return lay_out


def records(runs: Path) -> dict[str, Record]:
    return {record.cell.method: record for _, record in RunStore(runs).iterate() if isinstance(record, Record)}


@pytest.mark.process
@pytest.mark.slow
def test_the_executor_of_the_docs_runs_cells(
    ferbench: Ferbench, install: Install, patterns: Path, tmp_path: Path
) -> None:
    shown = section("ferbench_register_executors(register)")
    (code,) = re.findall(r"```python\n(.+?)```", shown, re.DOTALL)
    assert len([line for line in code[code.index("class ") :].splitlines() if line]) <= 40
    environment = install(code, queue=re.findall(r'"ferbench_queue\.executor:(\w+)"', shown)[0])
    (tmp_path / "sweep.toml").write_text(
        '[run]\nmethod = ["supervised", "crash"]\nexecutor = "queue"\njobs = 2\n\n[executor]\nnice = 3\n'
    )
    done = ferbench("run", "--config", "sweep.toml", "--dataset", str(patterns), *GRID, env=environment, timeout=600)
    assert done.returncode == 1, done.stdout + done.stderr
    found = records(tmp_path / "runs")
    assert found["supervised"].status == "ok"
    assert found["supervised"].measured.executor == found["crash"].measured.executor == "queue"
    crash = found["crash"]
    assert crash.status == "failed" and crash.error is not None
    assert "its process ended with code -6" in crash.error.message
    assert "out of luck" in crash.error.traceback
    assert f"failed: {crash.error.message}" in done.stdout
    assert len(re.findall(r"started$", done.stdout, re.MULTILINE)) == 2


@pytest.mark.parametrize(
    ("executor", "words"), [("lies", ["'ok'", "no record with a result", "seed0"]), ("short", ["0 statuses for 1"])]
)
def test_an_executor_that_lies_is_named_and_what_is_there_is_shown(
    ferbench: Ferbench,
    install: Install,
    patterns: Path,
    monkeypatch: pytest.MonkeyPatch,
    executor: str,
    words: list[str],
) -> None:
    environment = install(SLY, lies="Lies", short="Short")
    monkeypatch.syspath_prepend(environment["PYTHONPATH"].split(":")[0])
    done = ferbench(
        "run", "--method", "supervised", "--dataset", str(patterns), *GRID, "--executor", executor, env=environment
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    for word in [f"executor '{executor}'", *words]:
        assert word in done.stderr
    assert "not run" in done.stdout


def test_a_dry_run_checks_the_executor_and_its_devices(ferbench: Ferbench, patterns: Path, tmp_path: Path) -> None:
    dry = ("run", "--method", "supervised", "--dataset", str(patterns), *GRID, "--dry-run")
    for more, words in (
        (["--executor", "locl"], ["'locl'", "'local'"]),
        (["--executor-option", "slots=2"], ["--executor-option slots", "it has none"]),
        (["--executor-option", "slots"], ["--executor-option slots", "KEY=VALUE"]),
        (["--per-device", "2"], ["--executor-option per_device", "it has none"]),
        (["--executor", "local", "--executor-option", "slots=2"], ["--executor-option slots", "it has per_device"]),
        (["--device", "gpu"], ["--device gpu"]),
        (["--executor", "local", "--device", "cuda:0-99"], ["--device cuda:0-99", "this machine has"]),
        (["--device", "cuda:0-99"], ["--device cuda:0-99", "one device", "--executor local"]),
    ):
        refused = ferbench(*dry, *more)
        assert refused.returncode == 2 and refused.stderr.count("\n") == 1, refused.stderr
        for word in words:
            assert word in refused.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("executor = 3", ["[run] and [executor]"]),
        ("[executor]\nslots = 2", ["--executor-option slots"]),
        ("[run.executor-option]\na = 1\n[executor]\na = 2", ["keep one"]),
        ("[exectuor]\nslots = 2", ["[exectuor]", "'executor'"]),
    ],
)
def test_a_file_with_a_wrong_table_of_the_executor_is_refused(
    ferbench: Ferbench, patterns: Path, tmp_path: Path, text: str, words: list[str]
) -> None:
    (tmp_path / "sweep.toml").write_text(text)
    refused = ferbench("run", "--config", "sweep.toml", "--method", "supervised", "--dataset", str(patterns), *GRID)
    assert refused.returncode == 2, json.dumps(refused.stdout)
    for word in words:
        assert word in refused.stderr
