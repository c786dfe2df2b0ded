"""The Python API."""

from pathlib import Path

import pytest

import ferbench


@pytest.mark.slow
def test_run_returns_the_records_of_the_grid(patterns: Path, tmp_path: Path) -> None:
    options = {
        "dataset": str(patterns),
        "backbone": "small-resnet/4",
        "device": "cpu",
        "runs": tmp_path / "runs",
        "set": {"steps": 20, "image_size": 16, "labeled_batch": 6, "unlabeled_batch": 8, "fixmatch.threshold": 0.7},
    }
    first = ferbench.run(method=["supervised", "fixmatch"], ratio=0.1, **options)  # type: ignore[arg-type]
    assert [(record.cell.method, record.status) for record in first] == [("supervised", "ok"), ("fixmatch", "ok")]
    assert first[1].config.method["threshold"] == 0.7
    assert all(record.result is not None and 0 <= record.result.metrics.accuracy <= 1 for record in first)
    again = ferbench.run(method="fixmatch", ratio="0.10", **options)  # type: ignore[arg-type]
    assert again == first[1:]
