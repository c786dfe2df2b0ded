"""Ways of cheating within one record: each number is right by itself, and says otherwise than another."""

import json
from pathlib import Path
from typing import Any

import pytest

from ferbench.discovery.loader import builtin_protocols
from ferbench.records.cell import Budget
from ferbench.records.history import history_digest, parse_history
from ferbench.records.verification import verify_record
from tests.unit.records.factory import make_cell, make_history, make_predictions, make_record, write_record

PROTOCOLS = builtin_protocols()
RECORDS = Path(__file__).parents[3] / "leaderboard" / "records"


def failures(path: Path) -> dict[str, str]:
    return {check.name: check.detail for check in verify_record(path, PROTOCOLS).failures}


def edit(path: Path, where: str, to: Any) -> None:
    """Change one value of a record by hand, or by a function of the old one."""
    fields = json.loads(path.read_text())
    *parents, leaf = where.split(".")
    target = fields
    for key in parents:
        target = target[key]
    target[leaf] = to(target.get(leaf)) if callable(to) else to
    path.write_text(json.dumps(fields))


def edit_history(path: Path, change: Any) -> None:
    """Change the rows of a history and the digest that the record has of it."""
    file = path.parent / "history.json"
    rows = change(json.loads(file.read_text()))
    file.write_text(json.dumps(rows))
    edit(path, "result.history_digest", history_digest(parse_history(rows, "here")))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_record(tmp_path, make_cell())


def test_the_records_of_0_1_hold() -> None:
    paths = sorted(RECORDS.rglob("record.json"))
    assert len(paths) == 70
    # one of each kind: other protocols, pools, a tuned learning rate, pre-training, all labels
    kinds = {path.relative_to(RECORDS).parts[:5]: path for path in paths}
    assert {path: failures(path) for path in kinds.values()} == {path: {} for path in kinds.values()}


def test_better_logits_with_an_honest_history_fail(path: Path) -> None:
    better = make_predictions(skill=9.0)
    honest = json.loads((path.parent / "history.json").read_text())
    path.write_bytes(make_record(make_cell(), better, make_history(predictions=better)).to_json())
    (path.parent / "predictions.parquet").write_bytes(better.to_parquet())
    edit(path, "result.history_digest", history_digest(parse_history(honest, "here")))
    assert "its last evaluation has accuracy" in failures(path)["history"]


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("steps", 18_000, "steps is 18000"),
        ("labeled_batch", 512, "labeled_batch is 512"),
        ("learning_rate", 1.0, "learning_rate is 1.0"),
        ("image_size", 224, "image_size is 224"),
        ("weak", {"padding": 2, "crop_probability": 0.5, "flip_probability": 0.5}, "weak is"),
        ("labels_of_tests", True, "no field labels_of_tests"),
        ("name", "ratio-v2", "name is 'ratio-v2'"),
        ("split_rule", "mine", "split_rule is 'mine'"),
    ],
)
def test_another_recipe_than_the_protocols_fails(path: Path, field: str, value: object, words: str) -> None:
    edit(path, f"config.protocol.{field}", value)
    assert words in failures(path)["recipe"]


def test_what_was_made_under_a_draft_stays_what_it_was(path: Path) -> None:
    edit(path, "config.protocol.draft", True)
    assert set(failures(path)) == {"standard"}
    edit(path, "standard", False)
    edit(path, "config.protocol.labeled_batch", 512)
    found = verify_record(path, PROTOCOLS)
    assert found.holds
    assert all(part in found.verdict.notes[0] for part in ("recipe", "draft", "labeled_batch is 512"))


def test_a_recipe_may_differ_by_what_the_cell_overrides(tmp_path: Path) -> None:
    overrides = {"protocol": {"steps": 60, "weak.padding": 3}}
    path = write_record(tmp_path, make_cell(overrides={"protocol": {"steps": 60}}))
    assert failures(path) == {}
    other = write_record(tmp_path, make_cell(overrides=overrides))
    edit(other, "config.protocol.weak", lambda weak: {**weak, "padding": 3})
    assert failures(other) == {}
    edit(other, "config.protocol.weak", lambda weak: {**weak, "padding": 2})
    assert "weak is" in failures(other)["recipe"]


def test_a_short_run_without_its_overrides_fails(path: Path) -> None:
    edit_history(path, lambda rows: [{**row, "step": row["step"] // 30} for row in rows])
    assert "step 60" in failures(path)["history"]


def test_a_tuning_allows_its_own_fields_and_no_others(path: Path) -> None:
    tuned = {"distribution": "ferbench", "trials": 3, "source": "docs/tuning.md", "options": {"learning_rate": 1e-3}}
    stamp = json.loads(path.read_text())["plugin"]
    edit(path, "plugins", lambda plugins: {**plugins, "backbone": stamp})
    edit(path, "tunings", {"backbone": tuned})
    assert "learning_rate is 0.004" in failures(path)["recipe"]
    edit(path, "config.protocol.learning_rate", 1e-3)
    assert failures(path) == {}
    edit(path, "tunings.backbone.options", {"learning_rate": 1e-3, "steps": 9000})
    edit(path, "config.protocol.steps", 9000)
    assert "steps is 9000" in failures(path)["recipe"]


def test_tuned_options_of_a_method_are_those_that_it_ran_with(path: Path) -> None:
    tuned = {"distribution": "ferbench", "trials": 5, "source": "docs/tuning.md", "options": {"threshold": 0.8}}
    edit(path, "tunings", {"method": tuned})
    assert "threshold is 0.95" in failures(path)["recipe"] and "0.8" in failures(path)["recipe"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ""),
        ({"optimizer": "LARS", "departures": {"factory": "lars"}}, ""),
        ({"warmup": 0.0, "departures": {"warmup": 0.0}}, ""),
        ({"optimizer": "SGD"}, "its optimizer was 'sgd'"),
        ({"warmup": 0.0}, "its warmup was 0.0"),
        ({"groups": [{"parameters": 3, "learning_rate": 0.4, "settings": {}}]}, "its learning rates were [0.4]"),
    ],
)
def test_what_trained_is_the_recipe_but_for_what_is_listed(path: Path, changes: dict[str, Any], words: str) -> None:
    groups = [{"parameters": 3, "learning_rate": 0.004, "settings": {}}]
    facts = {
        "optimizer": "AdamW",
        "schedule": "cosine",
        "warmup": 0.05,
        "groups": groups,
        "departures": {},
        "source": "",
    }
    edit(path, "config.optimizers", {"train": {"main": {**facts, **changes}}})
    found = failures(path).get("recipe", "")
    assert words in found and bool(words) == bool(found)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda rows: [], "it has no epoch"),
        (lambda rows: rows[:-1], "it ends at step"),
        (lambda rows: rows[1:], "not numbered from 1"),
        (lambda rows: [*rows[:-2], {**rows[-2], "step": 1800}, rows[-1]], "do not increase"),
        (lambda rows: [{k: v for k, v in row.items() if k != "evaluation"} for row in rows], "its evaluations are not"),
        (lambda rows: [{**row, "evaluation": rows[-1]["evaluation"]} for row in rows], "its evaluations are not"),
        (lambda rows: [*rows[:-1], {**rows[-1], "evaluation": rows[3]["evaluation"]}], "its last evaluation has"),
        (lambda rows: [*rows[:-1], {**rows[-1], "evaluation": {"accuracy": 1.0}}], "an evaluation lacks one of"),
        (lambda rows: [{**row, "step": row["step"] + 900} for row in rows], "pre-training"),
    ],
)
def test_a_history_that_is_not_of_the_result_fails(path: Path, change: Any, words: str) -> None:
    edit_history(path, change)
    assert words in failures(path)["history"]


def test_pretraining_comes_on_top(path: Path) -> None:
    def before(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        first = {**rows[0], "stage": "reconstruct", "step": 500}
        rest = [{**row, "epoch": row["epoch"] + 1, "step": row["step"] + 500} for row in rows]
        return [first, *rest]

    edit_history(path, before)
    assert failures(path) == {}
    edit_history(path, lambda rows: [{**row, "stage": "train"} for row in rows])
    assert "pre-training" in failures(path)["history"]


def test_an_oracle_that_no_evaluation_gave_fails(path: Path) -> None:
    edit(path, "result.oracle.accuracy", 1.0)
    assert "the oracle's accuracy is 1.0" in failures(path)["history"]
    edit(path, "result.oracle.step", 630)
    assert "the oracle's step is 630" in failures(path)["history"]


@pytest.mark.parametrize(
    ("budget", "labeled", "words"),
    [
        (Budget(ratio="0.05"), 8000, "8000 of 9330 training images are labeled"),
        (Budget(per_class=25), 70, "70 labeled images, not 25"),
        (Budget(count=50, allocation="balanced"), 70, "70 labeled images, more than"),
    ],
)
def test_more_labels_than_the_budget_fail(tmp_path: Path, budget: Budget, labeled: int, words: str) -> None:
    protocol = "ratio-v1" if budget.ratio else "count-v1"
    path = write_record(tmp_path, make_cell(budget=budget, protocol=protocol), standard=False)
    edit(path, "result.n_labeled", labeled)
    assert words in failures(path)["budget"]


@pytest.mark.parametrize("name", ["pool", "folds", "validation", "label_noise", "test_data"])
def test_parts_of_the_data_that_the_cell_does_not_have_fail(path: Path, name: str) -> None:
    edit(path, f"result.fingerprints.{name}", "ab" * 32)
    assert "must be no fingerprint" in failures(path)["budget"]


@pytest.mark.parametrize(
    ("where", "value", "words"),
    [
        ("measured.started_at", "yesterday", "started_at is not a time: 'yesterday'"),
        ("measured.finished_at", "2026-13-01", "finished_at is not a time"),
        ("measured.train_seconds", 4000.0, "train_seconds 4000.0 is above wall_seconds 90.0"),
        ("measured.images_per_second", 1e6, "288000 image passes"),
        ("result.image_passes", 1, "1 image passes are too few"),
        ("result.image_passes", 2**53, "image passes"),
        ("result.parameters", 1, "1 parameters"),
        ("result.forward_images", 10, "forward_images 10"),
        ("plugin.source_hash", "0" * 64, "source hash of the method"),
        ("plugin.source_hash", "none", "source hash of the method"),
    ],
)
def test_costs_that_cannot_be_fail(path: Path, where: str, value: object, words: str) -> None:
    edit(path, where, value)
    assert words in failures(path)["costs"]
