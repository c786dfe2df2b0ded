"""The built-in faces through the real command line: train, pool, and a set of one's own."""

import json
from pathlib import Path

import pytest

from ferbench.records.store import RunStore
from tests.support.command import call

SHORT = ("--set=steps=20", "--device=cpu", "--seed=0")


@pytest.mark.slow
def test_fixmatch_at_five_percent_from_faces_to_a_verified_table_and_a_report(tmp_path: Path) -> None:
    runs = str(tmp_path / "runs")
    shown = call("run", "--method", "supervised,fixmatch", "--ratio", "0.05", "--runs", runs, "--jobs", "2", *SHORT)
    assert shown.code == 0, shown.out + shown.err
    records = [record for _, record in RunStore(tmp_path / "runs").iterate()]
    assert {record.result.n_labeled for record in records} == {400}  # type: ignore[union-attr]
    assert all(not record.standard for record in records)  # type: ignore[union-attr]

    verified = call("verify", runs)
    assert verified.code == 0, verified.out

    out = tmp_path / "tables"
    assert call("leaderboard", "build", "--runs", runs, "--out", str(out), "--include-nonstandard").code == 0
    table = (out / "leaderboard.md").read_text()
    assert "fixmatch" in table and "Not standard" in table

    record = next((tmp_path / "runs").rglob("fixmatch*/**/record.json"))
    assert call("report", str(record)).code == 0
    page = record.with_name("report.html").read_text()
    assert "Views of labeled images" in page
    assert page.count("<img") >= 3


@pytest.mark.slow
def test_a_pool_lifts_the_refusal_at_all_labels(tmp_path: Path) -> None:
    runs = str(tmp_path / "runs")
    refused = call("run", "--method", "fixmatch", "--ratio", "1", "--runs", runs, *SHORT)
    assert refused.code == 2
    assert "--unlabeled" in refused.err
    shown = call("run", "--method", "fixmatch", "--ratio", "1", "--unlabeled", "synthfaces-fr", "--runs", runs, *SHORT)
    assert shown.code == 0, shown.out + shown.err
    ((path, record),) = RunStore(tmp_path / "runs").iterate()
    assert "synthfaces+synthfaces-fr" in path.as_posix()
    assert record.result.n_unlabeled == 8000  # type: ignore[union-attr]
    history = json.loads(path.with_name("history.json").read_text())
    assert history[-1]["pseudo_label_precision"] is None  # the pool publishes no labels


@pytest.mark.slow
def test_a_rendered_set_is_accepted_as_a_data_set(tmp_path: Path) -> None:
    faces = tmp_path / "own-faces"
    made = call(
        "synthfaces", "render", "--n", "60", "--n-test", "30", "--seed", "7", "--workers", "1", "--out", str(faces)
    )
    assert made.code == 0, made.out + made.err
    planned = call("run", "--dataset", str(faces), "--method", "supervised", "--ratio", "0.5", "--dry-run")
    assert planned.code == 0, planned.err
    assert "own-faces" in planned.out


def test_the_supervised_baselines_do_not_depend_on_the_pool(tmp_path: Path) -> None:
    plain = call("run", "--method", "supervised", "--ratio", "0.05", "--runs", str(tmp_path), "--dry-run", *SHORT)
    pooled = call(
        "run", "--method", "supervised", "--ratio", "0.05", "--unlabeled", "synthfaces-fr",
        "--runs", str(tmp_path), "--dry-run", *SHORT,
    )  # fmt: skip
    assert plain.out == pooled.out
