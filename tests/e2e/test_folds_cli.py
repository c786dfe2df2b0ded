"""`ferbench run --protocol subject-folds-v1`: a fold of subjects per seed, verified, reported and in one table."""

from collections import Counter
from pathlib import Path

import pytest

from ferbench.readers.parquet import ParquetDataset
from ferbench.records.schema import Record
from ferbench.records.store import RunStore, read_predictions
from tests.support.command import call
from tests.support.pattern_set import write_pattern_set

FOLDS = (
    "run", "--protocol=subject-folds-v1", "--method=supervised@weak,fixmatch", "--ratio=0.25", "--device=cpu",
    "--backbone=small-resnet/4", "--set=steps=20", "--set=image_size=16", "--set=labeled_batch=6",
    "--set=unlabeled_batch=8",
)  # fmt: skip


@pytest.mark.slow
def test_each_seed_tests_its_fold(tmp_path: Path) -> None:
    posed = write_pattern_set(tmp_path / "posed", name="posed", subjects=11, n_test=0)
    runs = tmp_path / "runs"
    made = call(*FOLDS, "--dataset", str(posed), "--seed", "0,1", "--runs", str(runs), "--jobs", "2")
    assert made.code == 0, made.out + made.err
    subject_of = {sample.id: sample.subject for sample in ParquetDataset(posed).samples()}
    tested: dict[int, Counter[str | None]] = {}
    for path, record in RunStore(runs).iterate():
        assert isinstance(record, Record)
        assert record.result is not None
        assert record.config.protocol["folds"] == 10
        ids = read_predictions(path.parent / "predictions.parquet").ids
        tested[record.cell.seed] = Counter(subject_of[image] for image in ids)
        assert call("report", str(path)).code == 0
        assert "No sheets of faces" in (path.parent / "report.html").read_text()  # the folder is not named
        assert call("report", str(path), "--dataset", str(posed)).code == 0
        assert "No sheets of faces" not in (path.parent / "report.html").read_text()
    assert sorted(map(len, tested.values())) == [1, 2]  # 11 subjects in 10 folds, the first of two
    assert not tested[0].keys() & tested[1].keys()
    assert call("verify", str(runs)).code == 0
    compared = call("compare", "fixmatch", "supervised@weak", "--runs", str(runs))
    assert compared.code == 0, compared.err
    tables = call("leaderboard", "build", "--runs", str(runs), "--out", str(tmp_path), "--include-nonstandard")
    assert tables.code == 0
    assert "test images in 10 folds of subjects" in tables.out
    assert "2 of 10 seeds" in tables.out


def test_bad_input_is_one_line_with_its_remedy(patterns: Path, tmp_path: Path) -> None:
    beyond = call(*FOLDS, "--dataset", str(patterns), "--seed", "9-10", "--dry-run")
    assert (beyond.code, beyond.err.count("\n")) == (2, 1)
    assert "--seed 10: protocol 'subject-folds-v1'" in beyond.err
    few = call(*FOLDS, "--dataset", str(patterns), "--runs", str(tmp_path / "runs"))
    assert (few.code, few.err.count("\n")) == (4, 1)
    assert "'patterns': only 7 subjects" in few.err
    assert not (tmp_path / "runs").exists()
