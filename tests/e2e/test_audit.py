"""Methods that cheat, really installed: what they look for is not there, or the audit catches them."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.distributions import pip_install, write_wheel
from tests.support.pattern_set import write_pattern_set

pytestmark = [pytest.mark.process, pytest.mark.slow]

Ferbench = Callable[..., "subprocess.CompletedProcess[str]"]

PLUGIN = """
import json
import os
from ferbench.hookspecs import hookimpl

@hookimpl
def ferbench_register_methods(register):
    for name in ("Honest", "StackWalk", "Garbage", "PackedFolder", "ShippedFile", "ChosenSnapshot"):
        register(name.lower(), f"tests.support.dishonest:{name}", summary="Cheats")

@hookimpl
def ferbench_register_datasets(register):
    register("shipped", "shipped_faces:Shipped", summary="Faces in a package")

def tell(event, content):
    with open(os.environ["HEARD"], "a") as file:
        file.write(json.dumps([event, os.getpid(), content]) + "\\n")

@hookimpl
def ferbench_epoch_finished(epoch):
    tell("epoch", epoch.to_json())

@hookimpl
def ferbench_run_finished(record):
    tell("finished", record.result.metrics.accuracy)
"""
PACKAGE = """
from pathlib import Path
from ferbench.readers.parquet import ParquetDataset

class Shipped(ParquetDataset):
    needs_root = False

    def __init__(self, root=None):
        super().__init__(Path(__file__).parent / "faces")
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dishonest plugin, and a package that ships a dataset."""
    target = tmp_path_factory.mktemp("site")
    pip_install(target, write_wheel(tmp_path_factory.mktemp("wheels"), "ferbench-dishonest", PLUGIN))
    (target / "shipped_faces").mkdir()
    (target / "shipped_faces" / "__init__.py").write_text(PACKAGE)
    write_pattern_set(target / "shipped_faces" / "faces", name="shipped")
    return target


@pytest.fixture
def heard(tmp_path: Path) -> Path:
    """Where the plugin writes what its hooks are told."""
    return tmp_path / "heard.jsonl"


@pytest.fixture
def cheats(ferbench: Ferbench, site: Path, heard: Path, monkeypatch: pytest.MonkeyPatch) -> Ferbench:
    """The command line in an environment that has the plugin."""
    root = Path(__file__).parents[2]
    paths = [str(site), str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.setenv("HEARD", str(heard))
    return ferbench


def _audit(cheats: Ferbench, method: str) -> "subprocess.CompletedProcess[str]":
    return cheats(
        "audit", method, "--dataset", "shipped", "--ratio", "0.1", "--steps", "20", "--backbone", "small-resnet/4"
    )


def test_an_honest_method_passes(cheats: Ferbench) -> None:
    done = _audit(cheats, "honest")
    assert done.returncode == 0, done.stderr
    assert "not a proof" in done.stdout


@pytest.mark.parametrize(
    ("method", "differs"),
    [("packedfolder", "the net"), ("shippedfile", "the net"), ("chosensnapshot", "the net that is evaluated")],
)
def test_what_reads_files_of_datasets_is_caught(cheats: Ferbench, method: str, differs: str) -> None:
    done = _audit(cheats, method)
    assert done.returncode == 5, done.stdout + done.stderr
    assert differs in done.stderr


def test_what_looks_into_the_process_finds_nothing_and_hooks_are_told_nothing(
    cheats: Ferbench, heard: Path, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    done = cheats(
        *("run", "--method", "honest,stackwalk,garbage", "--dataset", "shipped", "--ratio", "0.1", "--device", "cpu"),
        *("--backbone", "small-resnet/4", "--set", "steps=20", "--set", "image_size=16", "--runs", str(runs)),
    )
    assert done.returncode == 0, done.stderr
    records = [json.loads(path.read_text()) for path in sorted(runs.rglob("record.json"))]
    assert len(records) == 3
    assert len({record["result"]["model_digest"] for record in records}) == 1, "each ends as the honest one does"

    told: list[list[Any]] = [json.loads(line) for line in heard.read_text().splitlines()]
    epochs = [content for event, _, content in told if event == "epoch"]
    assert len(epochs) == 60
    hidden = {"evaluation", "pseudo_label_precision", "pseudo_label_precision_per_class", "pseudo_label_accuracy"}
    assert not any(hidden & row.keys() for row in epochs)
    finished = [(process, content) for event, process, content in told if event == "finished"]
    assert sorted(content for _, content in finished) == sorted(r["result"]["metrics"]["accuracy"] for r in records)
    assert not {process for process, _ in finished} & {process for event, process, _ in told if event == "epoch"}
    for path in runs.rglob("history.json"):
        history = json.loads(path.read_text())
        assert all("pseudo_label_precision" in row for row in history)
        assert not list(path.parent.glob("in-progress*"))
