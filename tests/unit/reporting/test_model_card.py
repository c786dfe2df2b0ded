"""The model card of records that nobody vouches for."""

from pathlib import Path

import numpy as np
import pytest

from ferbench.discovery.registry import Registry
from ferbench.errors import DataError
from ferbench.leaderboard.statistics import of_images
from ferbench.records.answers import Answers
from ferbench.records.metrics import BY_KEY
from ferbench.records.store import read_record
from ferbench.reporting.model_card import model_card
from tests.unit.records.factory import make_cell, make_predictions, write_failure, write_record


def test_text_of_a_record_is_no_markup(registry: Registry, tmp_path: Path) -> None:
    record = read_record(write_record(tmp_path, make_cell(dataset="theirs")))
    hostile = "| <img src=x> [here](http://evil.example) `x`"
    hostile_record = record.model_copy(update={"selection": hostile})
    card = model_card(hostile_record, registry).decode()
    assert "<img" not in card and "[here](" not in card and "http:" not in card and "`x`" not in card
    (line,) = [line for line in card.splitlines() if line.startswith("| Selected")]
    assert line.replace("\\|", "").count("|") == 3


def test_a_run_that_is_not_standard_says_why(registry: Registry, tmp_path: Path) -> None:
    record = read_record(write_record(tmp_path, make_cell(compile="net"), standard=False))
    (line,) = [line for line in model_card(record, registry).decode().splitlines() if line.startswith("| Standard")]
    assert "compile=net" in line


def test_a_run_without_a_result_has_no_card(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a result"):
        model_card(read_record(write_failure(tmp_path, make_cell())), registry)


def test_the_interval_of_macro_f1_is_that_of_the_bootstrap() -> None:
    said = make_predictions(skill=1.5, n_test=700)
    chosen, metric = said.logits.argmax(axis=1), BY_KEY["macro_f1"]
    parts = Answers("", said.labels, chosen, 7).parts(metric)
    assert parts is not None
    found = of_images(parts)
    random, drawn = np.random.default_rng(0), []
    for _ in range(1000):
        rows = random.integers(0, 700, 700)
        counts = np.bincount(said.labels[rows] * 7 + chosen[rows], minlength=49).reshape(7, 7)
        f1 = 2 * np.diag(counts) / (counts.sum(0) + counts.sum(1))
        drawn.append(f1.mean())
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert (found.low, found.high) == (pytest.approx(low, abs=0.006), pytest.approx(high, abs=0.006))
