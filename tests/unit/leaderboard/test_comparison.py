from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ferbench.errors import UsageError
from ferbench.leaderboard.comparison import compare_rows
from ferbench.leaderboard.tables import make_board
from ferbench.records.frame import frame_of
from ferbench.records.store import read_predictions, read_record
from tests.unit.records.factory import make_cell, make_predictions, write_record


def row(root, method, skill, seeds=range(3), **cell):
    paths = [write_record(root, make_cell(method, seed, **cell), skill) for seed in seeds]
    return frame_of(map(read_record, paths), paths)


def folder(cells, seed):
    """Where the files of a seed's cell lie."""
    return Path(cells.set_index("seed").loc[seed, "path"]).parent


def test_differences_are_paired_over_common_seeds(tmp_path):
    a, b = row(tmp_path, "fixmatch", 2.5), row(tmp_path, "supervised", 1.5, seeds=(1, 2, 3))
    found = compare_rows(a, b)
    assert (found.a, found.b) == ("fixmatch", "supervised@weak")
    assert [pair.seed for pair in found.pairs] == [1, 2]
    accuracies = [cells.set_index("seed")["accuracy"] for cells in (a, b)]
    differences = [accuracies[0][seed] - accuracies[1][seed] for seed in (1, 2)]
    low, high = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    assert found.metrics["accuracy"].mean == pytest.approx(np.mean(differences))
    assert found.metrics["accuracy"].images == 210
    assert found.metrics["accuracy"].low <= low and found.metrics["accuracy"].high >= high
    assert found.unpaired == {"fixmatch": (0,), "supervised@weak": (3,)}
    assert found.recalls["fear"].pairs == 2


def test_a_table_says_the_same_of_two_rows(tmp_path):
    a, b = row(tmp_path, "fixmatch", 2.5), row(tmp_path, "supervised", 1.5)
    found = compare_rows(a, b)
    (table,) = make_board(pd.concat([a, b], ignore_index=True)).tables
    assert table.rows[0].gain == found.metrics["accuracy"]
    assert {name: recall.p for name, recall in table.rows[0].recalls.items()} == found.recall_p


def test_mcnemar_counts_images_that_only_one_gets_right(tmp_path):
    a, b = row(tmp_path, "fixmatch", 2.5, seeds=(0,)), row(tmp_path, "supervised", 1.5, seeds=(0,))
    right = []
    for cells in (a, b):
        predictions = read_predictions(folder(cells, 0) / "predictions.parquet")
        right.append(predictions.logits.argmax(axis=1) == predictions.labels)
    counts = compare_rows(a, b).pairs[0].mcnemar
    assert counts.only_a == (right[0] & ~right[1]).sum()
    assert counts.only_b == (~right[0] & right[1]).sum()
    assert counts.only_a - counts.only_b == right[0].sum() - right[1].sum()
    assert counts.p_value == pytest.approx(stats.binomtest(counts.only_b, counts.only_a + counts.only_b).pvalue)


def test_two_equal_models_do_not_differ(tmp_path):
    same = make_predictions()
    paths = [write_record(tmp_path, make_cell(method), predictions=same) for method in ("fixmatch", "ada-cm")]
    a, b = (frame_of([read_record(path)], [path]) for path in paths)
    counts = compare_rows(a, b).pairs[0].mcnemar
    assert (counts.only_a, counts.only_b, counts.p_value) == (0, 0, 1.0)


def test_predictions_that_are_missing_or_changed_are_not_counted(tmp_path):
    a, b = row(tmp_path, "fixmatch", 2.5, seeds=(0, 1)), row(tmp_path, "supervised", 1.5, seeds=(0, 1))
    (folder(a, 0) / "predictions.parquet").unlink()
    other = (folder(a, 1) / "predictions.parquet").read_bytes()
    (folder(b, 1) / "predictions.parquet").write_bytes(other)
    assert [pair.mcnemar for pair in compare_rows(a, b).pairs] == [None, None]


@pytest.mark.parametrize("part", ["data", "labeled", "test"])
def test_different_splits_are_refused(tmp_path, part):
    a, b = row(tmp_path, "fixmatch", 2.5), row(tmp_path, "supervised", 1.5)
    b.loc[b["seed"] == 1, f"fingerprint_{part}"] = "other"
    with pytest.raises(UsageError, match=f"their {part} fingerprints differ") as caught:
        compare_rows(a, b)
    assert caught.value.exit_code == 2


def test_rows_without_a_common_seed_are_refused(tmp_path):
    with pytest.raises(UsageError, match="no seed in common"):
        compare_rows(row(tmp_path, "fixmatch", 2, seeds=(0,)), row(tmp_path, "supervised", 2, seeds=(1,)))


def test_what_is_unequal_is_listed(tmp_path):
    a = row(tmp_path, "fixmatch", 2.5)
    b = row(tmp_path, "supervised", 1.5, backbone="timm/resnet18", precision="bf16")
    assert compare_rows(a, b).unequal == (
        "backbone: small-resnet against timm/resnet18",
        "precision: fp32 against bf16",
    )


def test_what_is_unequal_on_one_seed_is_listed_with_the_seed(tmp_path):
    a, b = row(tmp_path, "fixmatch", 2.5), row(tmp_path, "supervised", 1.5)
    a.loc[a["seed"] == 2, "engine_version"] = 7
    (line,) = compare_rows(a, b).unequal
    assert line.startswith("engine version: 7 against 1") and "seed 2" in line
