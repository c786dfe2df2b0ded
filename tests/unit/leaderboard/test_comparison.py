import numpy as np
import pytest
from scipy import stats

from ferbench.errors import UsageError
from ferbench.leaderboard.comparison import Located, compare_rows
from ferbench.records.store import read_predictions, read_record
from tests.unit.records.factory import make_cell, write_record


def row(root, method, skill, seeds=range(3), **cell):
    found = {}
    for seed in seeds:
        path = write_record(root, make_cell(method, seed, **cell), skill)
        record = read_record(path)
        found[seed] = Located(path, record, record.result)
    return found


def test_differences_are_paired_over_common_seeds(tmp_path):
    a, b = row(tmp_path, "fixmatch", 2.5), row(tmp_path, "supervised", 1.5, seeds=(1, 2, 3))
    found = compare_rows(a, b)
    assert (found.a, found.b) == ("fixmatch", "supervised@weak")
    assert [pair.seed for pair in found.pairs] == [1, 2]
    differences = [a[seed].result.metrics.accuracy - b[seed].result.metrics.accuracy for seed in (1, 2)]
    interval = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    assert found.metrics["accuracy"].mean == pytest.approx(np.mean(differences))
    assert (found.metrics["accuracy"].low, found.metrics["accuracy"].high) == pytest.approx(tuple(interval))
    assert found.unpaired == {"fixmatch": (0,), "supervised@weak": (3,)}
    assert found.recalls["fear"].pairs == 2


def test_mcnemar_counts_images_that_only_one_gets_right(tmp_path):
    a, b = row(tmp_path, "fixmatch", 2.5, seeds=(0,)), row(tmp_path, "supervised", 1.5, seeds=(0,))
    right = []
    for item in (a[0], b[0]):
        predictions = read_predictions(item.path.parent / "predictions.parquet")
        right.append(predictions.logits.argmax(axis=1) == predictions.labels)
    counts = compare_rows(a, b).pairs[0].mcnemar
    assert counts.only_a == (right[0] & ~right[1]).sum()
    assert counts.only_b == (~right[0] & right[1]).sum()
    assert counts.only_a - counts.only_b == right[0].sum() - right[1].sum()
    assert counts.p_value == pytest.approx(stats.binomtest(counts.only_b, counts.only_a + counts.only_b).pvalue)


def test_two_equal_models_do_not_differ(tmp_path):
    a, b = row(tmp_path, "fixmatch", 2.0, seeds=(0,)), row(tmp_path, "ada-cm", 2.0, seeds=(0,))
    counts = compare_rows(a, b).pairs[0].mcnemar
    assert (counts.only_a, counts.only_b, counts.p_value) == (0, 0, 1.0)


def test_predictions_that_are_missing_or_changed_are_not_counted(tmp_path):
    a, b = row(tmp_path, "fixmatch", 2.5, seeds=(0, 1)), row(tmp_path, "supervised", 1.5, seeds=(0, 1))
    (a[0].path.parent / "predictions.parquet").unlink()
    other = (a[1].path.parent / "predictions.parquet").read_bytes()
    (b[1].path.parent / "predictions.parquet").write_bytes(other)
    assert [pair.mcnemar for pair in compare_rows(a, b).pairs] == [None, None]


@pytest.mark.parametrize("part", ["data", "labeled", "test"])
def test_different_splits_are_refused(tmp_path, part):
    a, b = row(tmp_path, "fixmatch", 2.5), row(tmp_path, "supervised", 1.5)
    prints = b[1].result.fingerprints.model_copy(update={part: "other"})
    b[1] = Located(b[1].path, b[1].record, b[1].result.model_copy(update={"fingerprints": prints}))
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
