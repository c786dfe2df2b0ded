"""What a forged record, a model with more labels, a leaking method and an honest run can reach, with real runs."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from ferbench.cli.main import main
from ferbench.discovery.registry import Registry
from ferbench.errors import DataError
from ferbench.execution.re_evaluation import rebuild
from ferbench.readers.parquet import ParquetDataset
from ferbench.records.known import NOTHING
from ferbench.records.publication import publish
from ferbench.records.schema import Record
from ferbench.records.store import MODEL, RECORD
from tests.support.distributions import pip_install, write_wheel
from tests.support.forgeries import all_right, with_fewer_labels
from tests.support.pattern_set import write_pattern_set

SMALL = ("--set", "steps=20", "--set", "image_size=16", "--set", "labeled_batch=6", "--set", "unlabeled_batch=8")
CELL = ("--dataset", "patterns", "--backbone", "small-resnet/4", "--device", "cpu", *SMALL)
SEED = "9b1d55e30c6f42a781f03d2e6a94c758"
PLUGIN = """
from ferbench.hookspecs import hookimpl

@hookimpl
def ferbench_register_methods(register):
    register("packedfolder", "tests.support.dishonest:PackedFolder", summary="Cheats")
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, patterns: Path) -> Path:
    """Two seeds of a supervised row on a tenth of the labels, and one on half of them, with their models."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(patterns.parent)
        patch.setenv("FERBENCH_RUN_EXECUTOR", "inline")
        for ratio, seeds in (("0.1", "0,1"), ("0.5", "0")):
            row = ("--method", "supervised@weak", "--ratio", ratio, "--seed", seeds)
            assert main(["run", *row, *CELL, "--runs", str(folder)]) == 0
    return folder


@pytest.fixture
def place(tmp_path: Path, patterns: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty board, beside the dataset."""
    monkeypatch.chdir(patterns.parent)
    return tmp_path


def found(runs: Path, budget: str, seed: int = 0) -> Path:
    (path,) = (path for path in runs.rglob(RECORD) if budget in str(path) and path.parent.name == f"seed{seed}")
    return path


def submit(place: Path, runs: Path, *records: Path) -> None:
    """Copy what belongs in a pull request: no model."""
    for path in records:
        target = place / "records" / path.parent.relative_to(runs)
        target.mkdir(parents=True)
        for name in (RECORD, "history.json", "predictions.parquet"):
            shutil.copy(path.parent / name, target)


def models(place: Path, *records: Path) -> Path:
    """A folder of models under names that say nothing."""
    (place / "models").mkdir(exist_ok=True)
    for number, path in enumerate(records):
        shutil.copy(path.parent / MODEL, place / "models" / f"{number}.safetensors")
    return place / "models"


def re_evaluate(place: Path, *options: str) -> int:
    return main(
        [
            *("leaderboard", "re-evaluate", "--records", str(place / "records"), "--models", str(place / "models")),
            *("--out", str(place / "trust.json"), *options),
        ]
    )


def row(place: Path) -> dict[str, Any]:
    """The only row of the board."""
    options = ("--records", str(place / "records"), "--out", str(place), "--include-nonstandard")
    assert main(["leaderboard", "build", *options]) == 0
    (table,) = json.loads((place / "leaderboard.json").read_text())["tables"]
    (only,) = table["rows"]
    return dict(only)


def test_a_forged_record_reaches_consistent(place: Path, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    honest = found(runs, "ratio-0.1")
    all_right(place / "records", honest)
    assert main(["verify", str(place / "records")]) == 0
    assert row(place)["trust"] == "consistent"
    models(place, honest)
    capsys.readouterr()
    assert re_evaluate(place) == 5
    assert "the model gives other logits" in capsys.readouterr().out
    made = row(place)
    assert made["metrics"]["accuracy"]["mean"] == 1.0
    assert made["trust"] == "consistent"


def test_the_models_of_a_row_make_it_re_evaluated_once_all_are_there(
    place: Path, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = [found(runs, "ratio-0.1", seed) for seed in (0, 1)]
    submit(place, runs, *records)
    models(place, records[0])
    assert re_evaluate(place) == 0
    assert "no model" in capsys.readouterr().out
    made = row(place)
    assert (made["trust"], made["trust_cells"]) == ("consistent", {"consistent": 1, "re-evaluated": 1})
    assert "consistent (1 of 2 re-evaluated)" in (place / "leaderboard.md").read_text()
    models(place, *records)
    assert re_evaluate(place) == 0
    assert "known already" in capsys.readouterr().out
    assert row(place)["trust"] == "re-evaluated"
    assert "private_score" not in (place / "leaderboard.md").read_text()


def test_logits_without_labels_are_re_evaluated_where_the_data_is(
    place: Path, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = [found(runs, "ratio-0.1", seed) for seed in (0, 1)]
    for path in records:
        publish(path.parent, place / "records" / path.parent.relative_to(runs), NOTHING)
    models(place, *records)
    assert re_evaluate(place) == 0, capsys.readouterr().out
    assert row(place)["trust"] == "re-evaluated"


def test_what_is_no_model_of_the_cell_is_refused(place: Path, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A model of another net whose SHA-256 the record names; the digest of a record is only its word."""
    honest = found(runs, "ratio-0.1")
    submit(place, runs, honest)
    (place / "models").mkdir()
    path = place / "models" / "huge.safetensors"
    save_file({"backbone.stem.weight": np.zeros((999, 1000), np.float32)}, path)
    copy = place / "records" / honest.parent.relative_to(runs) / RECORD
    fields = json.loads(copy.read_text())
    fields["result"]["model_digest"] = hashlib.sha256(path.read_bytes()).hexdigest()
    copy.write_text(json.dumps(fields))
    assert re_evaluate(place) == 1
    assert "does not fit the net of its cell" in capsys.readouterr().out
    assert row(place)["trust"] == "consistent"


def test_other_data_on_this_machine_is_no_fault_of_the_record(place: Path, runs: Path, registry: Registry) -> None:
    path = found(runs, "ratio-0.1")
    fields = json.loads(path.read_text())
    fields["result"]["fingerprints"]["test"] = "0" * 64
    with pytest.raises(DataError, match="test"):
        rebuild(Record.model_validate(fields), path.parent / MODEL, registry)


def test_a_private_render_is_scored_once_for_a_cell_and_edition(
    place: Path, runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def redrawn_test(self: ParquetDataset, seed: int):
        folder = write_pattern_set(place / f"drawn-{asked.append(seed) or len(asked)}", n_test=300, seed=seed % 2**32)
        return iter([sample for sample in ParquetDataset(folder).samples() if sample.split == "test"])

    asked: list[int] = []
    monkeypatch.setattr(ParquetDataset, "redrawn_test", redrawn_test)
    records = [found(runs, "ratio-0.1", seed) for seed in (0, 1)]
    submit(place, runs, *records)
    models(place, *records)
    (place / "seed").write_text(f"{SEED}\n")
    assert re_evaluate(place, "--private-seed-file", str(place / "seed")) == 0
    assert asked == [int(SEED, 16)], "one render for all models"
    trust = json.loads((place / "trust.json").read_text())
    scores = [one["score"] for one in trust["scorings"]]
    assert len(scores) == 2
    assert all(round(score, 3) == score for score in scores)
    made = row(place)
    assert made["private_score"] == pytest.approx(sum(scores) / 2, abs=1e-6)
    public = made["metrics"]["accuracy"]["mean"]
    shown = f"{100 * sum(scores) / 2:.1f} ({100 * (sum(scores) / 2 - public):+.1f})"
    assert shown in (place / "leaderboard.md").read_text()

    monkeypatch.setenv("FERBENCH_PRIVATE_SEED", SEED[::-1])
    before = (place / "trust.json").read_bytes()
    assert re_evaluate(place) == 0
    assert (place / "trust.json").read_bytes() == before
    assert "FERBENCH_PRIVATE_SEED" not in os.environ, "no process that is started later has it"
    assert len(asked) == 1

    # another model of the cell gets no second look at the render, whatever else is edited
    other = with_fewer_labels(place / "records", found(runs, "ratio-0.5"), records[0])
    models(place, found(runs, "ratio-0.5"), records[1])
    monkeypatch.setenv("FERBENCH_PRIVATE_SEED", SEED)
    assert re_evaluate(place) == 0
    assert len(asked) == 1
    assert json.loads((place / "trust.json").read_text())["scorings"] == trust["scorings"]
    made = row(place)
    assert made["trust"] == "re-evaluated"
    assert made["private_score"] is None, "the score is of the model that was scored"
    assert other.is_file()

    # the next edition has its own scores
    fields = json.loads((place / "trust.json").read_text())
    (place / "trust.json").write_text(json.dumps({**fields, "edition": "2"}))
    assert row(place)["trust"] == "consistent"
    monkeypatch.setenv("FERBENCH_PRIVATE_SEED", SEED)
    assert re_evaluate(place) == 0
    assert [one["edition"] for one in json.loads((place / "trust.json").read_text())["scorings"]] == list("1122")

    text = capsys.readouterr()
    written = [path.read_bytes() for path in place.rglob("*") if path.is_file() and path.name != "seed"]
    for secret in (SEED, str(int(SEED, 16))):
        assert secret not in text.out + text.err
        assert not any(secret.encode() in content for content in written)


@pytest.mark.parametrize("text", ["", SEED[:-1], f"{SEED}0", "not a secret"])
def test_a_seed_that_is_none_is_refused_and_not_shown(
    place: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "seed").write_text(text)
    (place / "models").mkdir()
    assert re_evaluate(place, "--private-seed-file", str(place / "seed")) == 2
    error = capsys.readouterr().err
    assert "128 bits" in error
    assert not text or text not in error


@pytest.fixture
def reproduce(place: Path, ferbench: Callable[..., Any], patterns: Path) -> Callable[..., Any]:
    """`ferbench leaderboard reproduce` of one cell of the board, in other processes."""

    def call(**env: str) -> Any:
        options = ("--records", str(place / "records"), "--out", str(place / "trust.json"), "--device", "cpu")
        command = ("leaderboard", "reproduce", "--sample", "1", *options, "--runs", str(place / "again"))
        return ferbench(*command, env=env, cwd=patterns.parent, timeout=500)

    return call


@pytest.mark.process
@pytest.mark.slow
def test_an_honest_run_is_reproduced(place: Path, runs: Path, reproduce: Callable[..., Any]) -> None:
    submit(place, runs, found(runs, "ratio-0.1"))
    done = reproduce()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "equal, bit for bit; no leak found" in done.stdout
    assert row(place)["trust"] == "reproduced"
    assert "0 of 1 cell" in reproduce().stdout, "it is not chosen again"


@pytest.mark.process
@pytest.mark.slow
def test_a_real_model_with_more_labels_is_re_evaluated_and_not_reproduced(
    place: Path, runs: Path, reproduce: Callable[..., Any]
) -> None:
    real = found(runs, "ratio-0.5")
    with_fewer_labels(place / "records", real, found(runs, "ratio-0.1"))
    assert main(["verify", str(place / "records")]) == 0
    models(place, real)
    assert re_evaluate(place) == 0
    assert row(place)["trust"] == "re-evaluated"
    done = reproduce()
    assert done.returncode == 5, done.stdout + done.stderr
    assert "on the same kind of machine" in done.stdout
    assert row(place)["trust"] == "re-evaluated"


@pytest.mark.process
@pytest.mark.slow
def test_a_method_that_reads_labels_from_files_is_not_reproduced(
    place: Path,
    ferbench: Callable[..., Any],
    reproduce: Callable[..., Any],
    patterns: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It gives its result again, bit for bit; the audit sees that the result depends on hidden labels."""
    # It reads all that is packed, and other tests damage what they pack.
    monkeypatch.setenv("FERBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
    site = tmp_path_factory.mktemp("site")
    pip_install(site, write_wheel(tmp_path_factory.mktemp("wheels"), "ferbench-dishonest", PLUGIN))
    env = {"PYTHONPATH": os.pathsep.join([str(site), str(Path(__file__).parents[2])])}
    command = ("run", "--method", "packedfolder", "--ratio", "0.1", *CELL, "--runs", str(place / "runs"))
    done = ferbench(*command, env=env, cwd=patterns.parent, timeout=500)
    assert done.returncode == 0, done.stderr
    (leaking,) = (place / "runs").rglob(RECORD)
    submit(place, place / "runs", leaking)
    done = reproduce(**env)
    assert done.returncode == 5, done.stdout + done.stderr
    assert "leak audit" in done.stdout
    assert row(place)["trust"] == "consistent"


def test_reproduction_does_not_run_where_the_secret_is(
    place: Path, runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FERBENCH_PRIVATE_SEED", SEED)
    options = ("--records", str(runs), "--out", str(place / "trust.json"))
    assert main(["leaderboard", "reproduce", "--sample", "1", *options]) == 2
    assert "unset it" in capsys.readouterr().err
    assert not (place / "trust.json").exists()
