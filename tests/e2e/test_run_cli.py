"""`ferbench run` as a person types it: grids, caching, errors with their remedy and exit code."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ferbench.records.store import RunStore
from tests.support.command import call
from tests.support.pattern_set import write_pattern_set

Ferbench = Callable[..., "subprocess.CompletedProcess[str]"]

SMALL = (
    "--set=steps=20", "--set=image_size=16", "--set=labeled_batch=6", "--set=unlabeled_batch=8",
    "--backbone=small-resnet/4", "--device=cpu",
)  # fmt: skip


@pytest.fixture
def run(patterns: Path, tmp_path: Path):  # type: ignore[no-untyped-def]
    """`ferbench run` in this process on the pattern set; cells themselves run in workers."""

    def call_run(*arguments: str, dataset: Path = patterns):  # type: ignore[no-untyped-def]
        return call("run", "--dataset", str(dataset), "--runs", str(tmp_path / "runs"), *SMALL, *arguments)

    return call_run


def test_a_grid_runs_once_and_is_cached_then(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    grid = ("--method", "supervised@strong,fixmatch", "--ratio", "0.1", "--seed", "0", "--jobs", "2")
    dry = run(*grid, "--dry-run")
    assert dry.code == 0
    assert "2 cells, 2 to run" in dry.out
    assert not (tmp_path / "runs").exists()

    first = run(*grid)
    assert first.code == 0, first.out + first.err
    records = [record for _, record in RunStore(tmp_path / "runs").iterate()]
    assert [record.status for record in records] == ["ok", "ok"]  # type: ignore[union-attr]
    assert {record.cell.row for record in records} == {"fixmatch", "supervised@strong"}  # type: ignore[union-attr]

    second = run(*grid)
    assert "2 cached, 0 to run" in second.out

    verified = call("verify", str(tmp_path / "runs"))
    assert verified.code == 0, verified.out

    history = json.loads(next((tmp_path / "runs").rglob("fixmatch*/**/history.json")).read_text())
    assert len(history) == 20
    assert sum("evaluation" in row for row in history) == 6
    assert 0 <= history[-1]["mask_rate"] <= 1


@pytest.mark.process
def test_scripts_of_the_current_folder_are_not_imported(patterns: Path, tmp_path: Path) -> None:
    for name in ("random.py", "json.py", "torch.py"):
        (tmp_path / name).write_text(f"raise SystemExit('{name} was run')\n")
    command = [Path(sys.executable).with_name("ferbench"), "run", "--dataset", patterns, "--runs", "runs", *SMALL]
    grid = ["--method", "supervised@weak", "--ratio", "0.1", "--seed", "0"]
    done = subprocess.run([*command, *grid], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_numbers_of_labels_have_a_protocol_of_their_own(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    shown = run("--method", "fixmatch", "--labels", "10", "--per-class", "5", "--seed", "0", "--jobs", "2")
    assert shown.code == 0, shown.out + shown.err
    records = [record for _, record in RunStore(tmp_path / "runs").iterate()]
    assert {record.cell.budget.label(): record.result.labeled_counts["sadness"] for record in records} == {  # type: ignore[union-attr]
        "count-10-balanced": 3,
        "per-class-5": 5,
    }
    assert {record.cell.protocol for record in records} == {"count-v1"}  # type: ignore[union-attr]


def test_a_worker_that_fails_leaves_its_reason_and_costs_its_cell_only(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    grid = ("--method", "supervised", "--ratio", "0.1", "--seed", "0", "--set", "learning_rate=1e30")
    shown = run(*grid)
    assert shown.code == 1
    assert "diverged" in shown.out
    (_, record), *_ = RunStore(tmp_path / "runs").iterate()
    assert record.status == "diverged"  # type: ignore[union-attr]
    assert record.error.term == "supervised"  # type: ignore[union-attr]
    assert record.error.step is not None  # type: ignore[union-attr]
    assert "1 to run" in run(*grid, "--dry-run").out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--method", "fixmach", "--ratio", "0.1"], 2, ["no method 'fixmach'", "did you mean 'fixmatch'?"]),
        (["--method", "fixmatch@releesed", "--ratio", "0.1"], 2, ["no variant 'releesed'", "described"]),
        (["--method", "fixmatch+lineer", "--ratio", "0.1"], 2, ["no head 'lineer'", "'linear'"]),
        (["--method", "fixmatch", "--ratio", "0.1", "--backbone", "smal-resnet"], 2, ["smal-resnet", "'small-resnet'"]),
        (["--method", "fixmatch", "--ratio", "0.1", "--backbone", "timm/resnet81"], 2, ["resnet81", "did you mean"]),
        (["--method", "fixmatch", "--ratio", "0.1", "--protocol", "ratio-v9"], 2, ["ratio-v9", "'ratio-v1'"]),
        (["--method", "fixmatch", "--ratio", "0.1", "--set", "treshold=0.9"], 2, ["treshold", "'threshold'"]),
        (["--method", "fixmatch", "--ratio", "0.1", "--set", "stepps=9"], 2, ["stepps", "'steps'"]),
        (["--method", "fixmatch", "--ratio", "0.1", "--set", "weak.pading=1"], 2, ["weak.pading", "'weak.padding'"]),
        (["--method", "fixmatch", "--ratio", "0.1", "--set", "threshold=2"], 2, ["threshold = 2", "less than"]),
        (["--method", "fixmatch", "--ratio", "0.1", "--set", "steps"], 2, ["KEY=VALUE"]),
        (["--method", "fixmatch,supervised", "--ratio", "0.1", "--set", "threshold=0.9"], 2, ["fixmatch.threshold"]),
        (["--method", "fixmatch", "--ratio", "0"], 2, ["--ratio 0", "above 0 and at most 1"]),
        (["--method", "fixmatch", "--ratio", "1.5"], 2, ["--ratio 1.5", "above 0 and at most 1"]),
        (["--method", "fixmatch", "--ratio", "5%"], 2, ["--ratio 5%", "decimal number"]),
        (["--method", "fixmatch"], 2, ["--ratio 0.05"]),
        (["--method", "fixmatch", "--labels", "9", "--protocol", "ratio-v1"], 2, ["--labels 9", "by --ratio"]),
        (["--method", "fixmatch", "--ratio", "0.1", "--protocol", "count-v1"], 2, ["--ratio 0.1", "--labels"]),
        (["--method", "fixmatch", "--labels", "400"], 2, ["sadness (20 images, 133 wanted)"]),
        (["--method", "fixmatch", "--labels", "9", "--allocation", "balance"], 2, ["count-v1", "'balanced'"]),
        (["--method", "fixmatch", "--labels", "100", "--allocation", "adacm"], 2, ["seven basic classes"]),
        (["--method", "fixmatch", "--per-class", "5", "--allocation", "adacm"], 2, ["--per-class 5", "--allocation"]),
        (["--method", "fixmatch", "--ratio", "1"], 2, ["100 % of the labels", "--unlabeled"]),
        (["--method", "fixmatch", "--ratio", "0.1", "--seed", "4-0"], 2, ["--seed 4-0", "go up"]),
        (["--method", "fixmatch", "--ratio", "0.1", "--seed", "one"], 2, ["--seed one", "0-4"]),
        (["--method", "fixmatch", "--ratio", "0.1", "--classes", "9"], 2, ["--classes 9", "2, 3"]),
        (["--method", "fixmatch", "--ratio", "0.1", "--init", "none.safetensors"], 4, ["no such file"]),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_with_its_remedy(run, arguments: list[str], code: int, words: list[str]) -> None:  # type: ignore[no-untyped-def]
    shown = run(*arguments)
    assert shown.code == code, shown.err
    assert shown.err.count("\n") == 1, shown.err
    for word in words:
        assert word in shown.err


def test_an_unknown_data_set_is_answered_with_the_nearest() -> None:
    shown = call("run", "--method", "supervised", "--ratio", "0.1", "--dataset", "synthface")
    assert shown.code in (2, 3)
    assert "synthface" in shown.err
    assert shown.err.count("\n") == 1


def test_a_truncated_image_is_named_before_anything_trains(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    folder = write_pattern_set(tmp_path / "bad", name="bad", damage={"bad-train-neutral-0003": b"\x89PNG"})
    shown = run("--method", "supervised", "--ratio", "0.1", dataset=folder)
    assert shown.code == 4
    assert "bad-train-neutral-0003" in shown.err
    assert not (tmp_path / "runs").exists()


def test_a_class_without_labels_is_named(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    folder = write_pattern_set(tmp_path / "two", name="two", counts={"neutral": 30, "happiness": 30})
    shown = run("--method", "supervised", "--ratio", "0.1", dataset=folder)
    assert shown.code == 4
    assert "class sadness" in shown.err


def test_a_file_sets_defaults_and_the_command_line_wins(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    config = tmp_path / "sweep.toml"
    config.write_text(
        '[run]\nmethod = ["supervised", "fixmatch"]\nratio = [0.1, 0.25]\nseed = "0-2"\nset = {weight_decay = 0.5}\n'
    )
    assert "12 cells, 12 to run" in run("--config", str(config), "--dry-run").out
    narrowed = run("--config", str(config), "--ratio", "0.1", "--seed", "7", "--dry-run")
    assert "2 cells, 2 to run" in narrowed.out
    assert "seed7" in narrowed.out


def test_tables_of_the_file_set_options_and_keep_their_types(patterns: Path, tmp_path: Path) -> None:
    config = tmp_path / "sweep.toml"
    config.write_text(
        '[run]\nmethod = ["supervised", "fixmatch"]\nratio = 0.1\n'
        "[run.set]\nfixmatch.threshold = 0.7\nfixmatch.align = true\nweak.padding = 3\nsteps = 1e3\n"
        '"strong.operations" = 2\n'
    )
    # On the command line --set would replace that of the file.
    shown = call("run", "--config", str(config), "--dataset", str(patterns), "--device", "cpu", "--dry-run")
    assert shown.code == 0, shown.err
    changes = "protocol.steps=1000, protocol.strong.operations=2, protocol.weak.padding=3"
    assert f"method.align=true, method.threshold=0.7, {changes}" in shown.out
    assert re.search(rf"to run +overrides {re.escape(changes)}; runs inline\n", shown.out)


@pytest.mark.parametrize(
    "text",
    [
        "run = 3",
        "[run]\nset = 3",
        "[set]\nsteps = 3",
        "[run.set]\nweak = {padding = 1979-05-27}",
        "[run]\njobs = [2]",
        "[run]\nruns = ['a', 'b']",
        "[run]\ntimeout = 2024-01-01",
        "[run]\nmethod = []",
        "[run]\nset = {learning_rate = nan}",
        "[run]\njobs = {a = 1}",
    ],
)
def test_a_file_of_another_shape_is_refused_in_one_line(patterns: Path, tmp_path: Path, text: str) -> None:
    config = tmp_path / "sweep.toml"
    config.write_text(text)
    shown = call("run", "--config", str(config), "--method", "supervised", "--ratio", "0.1", "--dataset", str(patterns))
    assert shown.code == 2
    assert shown.err.count("\n") == 1, shown.err


def test_a_dry_run_packs_and_writes_nothing(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("FERBENCH_CACHE", str(tmp_path / "cache"))
    shown = run("--method", "supervised", "--ratio", "0.1", "--dry-run")
    assert "1 cell, 1 to run" in shown.out
    assert not (tmp_path / "cache").exists()
    assert not (tmp_path / "runs").exists()


@pytest.mark.process
def test_sigterm_saves_and_exits_130(patterns: Path, tmp_path: Path) -> None:
    grid = ("--method", "supervised", "--ratio", "0.1", "--dataset", str(patterns), "--runs", str(tmp_path))
    command = [sys.executable, "-m", "ferbench", "run", *grid, *SMALL[1:], "--set=steps=4000"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        while not (saved := list(tmp_path.rglob("checkpoint.safetensors"))) and process.poll() is None:
            time.sleep(0.05)
        before = saved[0].stat().st_mtime_ns
        process.terminate()
        _, err = process.communicate(timeout=100)
    assert process.returncode == 130, err
    assert "continues from there" in err
    assert saved[0].stat().st_mtime_ns > before
    assert not list(tmp_path.rglob("record.json"))


def test_the_environment_stands_between_file_and_command_line(
    run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,  # type: ignore[no-untyped-def]
) -> None:
    config = tmp_path / "sweep.toml"
    config.write_text('[run]\nmethod = "supervised"\nratio = 0.1\nseed = "0-2"\n')
    monkeypatch.setenv("FERBENCH_RUN_SEEDS", "4")
    assert "seed4" in run("--config", str(config), "--dry-run").out
    assert "seed9" in run("--config", str(config), "--seed", "9", "--dry-run").out


def test_an_unknown_key_of_the_file_is_named(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    config = tmp_path / "sweep.toml"
    config.write_text('[run]\nmethods = "supervised"\n')
    shown = run("--config", str(config))
    assert shown.code == 2
    assert "unknown key 'methods'" in shown.err and "did you mean 'method'?" in shown.err


@pytest.mark.slow
def test_a_read_only_output_folder_keeps_what_is_in_it(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    grid = ("--method", "supervised", "--ratio", "0.1", "--seed")
    assert run(*grid, "0").code == 0
    record = next((tmp_path / "runs").rglob("record.json"))
    before = record.read_bytes()
    # Root may write anywhere, so the folder of the next cell is made impossible by a file in its place.
    (record.parent.parent / "seed1").write_text("in the way")
    shown = run(*grid, "0,1")
    assert shown.code != 0
    assert "seed1" in shown.out + shown.err
    assert record.read_bytes() == before


@pytest.mark.slow
def test_a_cell_that_another_process_works_on_is_left_alone(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    grid = ("--method", "supervised", "--ratio", "0.1", "--seed", "0")
    assert run(*grid).code == 0
    store = RunStore(tmp_path / "runs")
    (_, record), *_ = store.iterate()
    folder = store.folder(record.cell)  # type: ignore[union-attr]
    (folder / "record.json").unlink()
    with store.lock(record.cell):  # type: ignore[union-attr]
        shown = run(*grid)
    assert shown.code == 1
    assert f"process {os.getpid()}" in shown.out
    assert not (folder / "record.json").exists()
