"""One bad record harms only itself, whatever is wrong with it: every command goes on with the others."""

import os
import random
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import ferbench
from ferbench.records.metrics import METRICS
from ferbench.records.store import read_record
from tests.support.command import Outcome, call
from tests.support.hostile_records import long_ids, many_rows, tamper
from tests.support.time_limit import time_limit
from tests.unit.records.factory import make_cell, write_record

MUTANTS, BATCHES = 300, 15
GOOD = "goodfaces"
SCORES = [*(metric.key for metric in METRICS), "confusion"]


def quiet(*arguments: str, codes: tuple[int, ...] = (0, 5)) -> Outcome:
    """A command that neither hangs nor stumbles."""
    with time_limit():
        done = call(*arguments)
    said = done.out + done.err
    assert done.code in codes, f"{arguments}: {done.code}: {said[-2000:]}"
    for words in ("Traceback", "bug in ferbench", "TimeoutError", "OverTime", "root:x:"):
        assert words not in said, f"{arguments}: {said[-2000:]}"
    return done


def good_records(root: Path) -> list[Path]:
    return [write_record(root, make_cell(method, dataset=GOOD)) for method in ("fixmatch", "supervised")]


def loaded(root: Path) -> pd.DataFrame:
    with time_limit(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return ferbench.load(root)


def check_all_commands(root: Path, out: Path, good: list[Path]) -> pd.DataFrame:
    """What is loaded, after every command has shown the good records as if they were alone."""
    alone = good[0].parents[7] / "alone"
    for path in good_records(alone):
        assert path.exists()
    quiet("leaderboard", "build", "--records", str(alone), "--out", str(out / "alone"), codes=(0,))
    verified = quiet("verify", str(root), "--json").out
    assert all(f'"record": "{path}",\n    "holds": true' in verified for path in good)
    quiet("verify", str(root))
    built = quiet("leaderboard", "build", "--records", str(root), "--out", str(out))
    assert quiet("leaderboard", "check", "--records", str(root), "--out", str(out)).code == built.code
    tables = [pd.read_csv(folder / "leaderboard.csv", dtype=str) for folder in (out / "alone", out)]
    one, other = (table[table["dataset"] == GOOD].reset_index(drop=True) for table in tables)
    pd.testing.assert_frame_equal(one, other[one.columns])
    assert f"in {root}" in quiet("status", "--runs", str(root), codes=(0,)).out
    quiet("status", "--runs", str(root), "--json", codes=(0,))
    quiet("compare", "fixmatch", "supervised", "--runs", str(root), codes=(0, 2))
    assert "A - B" in quiet("compare", str(good[0]), str(good[1]), codes=(0,)).out
    frame = loaded(root)
    assert set(map(str, good)) <= set(frame["path"])
    return frame


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A runs folder at a depth that no mutation leaves."""
    return tmp_path / "tree" / "runs"


def test_known_attacks_are_broken_records_beside_good_ones(root: Path, tmp_path: Path) -> None:
    good = good_records(root)
    bad = [write_record(root, make_cell(dataset=f"faces{number}")) for number in range(9)]
    text = [path.read_text() for path in bad]
    bad[0].write_text(text[0].replace('"neutral"', '"\\ud800"'))
    bad[1].write_text(text[1].replace('"threshold": 0.95', '"threshold": "\\udfff"'))
    bad[2].write_text(text[2].replace('"image_passes": 288000', f'"image_passes": 1{"0" * 4000}'))
    bad[3].write_text(text[3].replace('"threshold": 0.95', '"threshold": 1e999'))
    outside = tmp_path / "outside"
    for number, name, target in (
        (4, "record.json", "record.json"), (5, "record.json", outside), (6, "history.json", outside),
        (7, "predictions.parquet", outside), (8, "history.json", "history.json"),
    ):  # fmt: skip
        path = bad[number].parent / name
        outside.write_bytes(path.read_bytes())
        path.unlink()
        path.symlink_to(target)
    frame = check_all_commands(root, tmp_path / "out", good)
    assert [path for path in bad[:6] if str(path) in set(frame["path"])] == []
    verified = quiet("verify", str(root), codes=(5,))
    assert all(f"{path}: " in verified.out for path in bad)
    assert "2 of 11 records without a failed check" in verified.out
    for number in (6, 7, 8):  # a report says so, and shows the rest
        quiet("report", str(bad[number]), "--out", str(tmp_path / "report.html"), codes=(0,))
        assert "is a link" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("bomb", [long_ids, many_rows])
def test_a_small_file_that_decodes_to_gigabytes_is_refused_before_it_does(root: Path, bomb: Any) -> None:
    path = write_record(root, make_cell())
    (path.parent / "predictions.parquet").write_bytes(bomb())
    before = peak()
    shown = quiet("verify", str(path), codes=(5,))
    assert "predictions have more than" in shown.out or "predictions unpack to more than" in shown.out
    assert peak() - before < 300_000_000


def peak() -> int:
    import resource

    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.mark.fuzz
@pytest.mark.parametrize("batch", range(BATCHES))
def test_mutated_records(root: Path, tmp_path: Path, batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """No traceback, no hang, nothing accepted that changes a result, and the good records are still shown."""
    monkeypatch.chdir(tmp_path)
    chance = random.Random(batch)
    good = good_records(root)
    mutants: dict[Path, str] = {}
    original, clean = {}, {}
    for number in range(MUTANTS // BATCHES):
        path = write_record(root, make_cell(dataset=f"faces{batch}-{number}"))
        original[path], clean[path] = read_record(path), loaded(path).iloc[0]
        mutants[path] = tamper(chance, path.parent)
    frame = check_all_commands(root, tmp_path / "out", good).set_index("path")
    for path, change in mutants.items():
        if str(path) in frame.index:
            assert [frame.loc[str(path), name] for name in SCORES] == [clean[path][name] for name in SCORES], change
        if not os.path.lexists(path):
            continue
        if quiet("verify", str(path), codes=(0, 2, 5)).code == 0:
            now, was = read_record(path), original[path]
            assert now.result is not None and was.result is not None
            same = {"metrics", "confusion", "class_names", "n_test", "predictions_digest", "history_digest"}
            assert now.cell == was.cell, change
            assert now.result.model_dump(include=same) == was.result.model_dump(include=same), change
        quiet("report", str(path), "--out", str(tmp_path / "report.html"), codes=(0, 2, 5))
        quiet("reproduce", str(path), codes=(0, 2, 5))
