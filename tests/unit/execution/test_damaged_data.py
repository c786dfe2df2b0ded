"""Packed data is compared with what was written before a cell trains on it and before its record is written."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ferbench.contract.events import Epoch, Event
from ferbench.data.load import memory
from ferbench.data.load.memory import check_memory
from ferbench.data.prepare.pack import packed_folder
from ferbench.discovery.registry import Registry
from ferbench.errors import DataError
from ferbench.execution.run_cell import run_cell
from ferbench.execution.stopping import StopRequests
from ferbench.readers.parquet import ParquetDataset
from tests.unit.execution.test_inline import plan, run, short

__all__ = ["short"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FERBENCH_CACHE", str(tmp_path / "cache"))


def overwrite(patterns: Path) -> Path:
    """Put other pixels in the place of the packed ones, as a valid file."""
    path = next(packed_folder(ParquetDataset(patterns), 16).glob("part-*.npy"))
    np.save(path, np.load(path)[::-1])
    return path


def test_overwritten_images_are_made_anew_and_change_no_result(
    short: Registry, patterns: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = run(plan(short, patterns, tmp_path / "a", "inline").job, short)
    path = overwrite(patterns)
    second = run(plan(short, patterns, tmp_path / "b", "inline").job, short)
    assert path.name in caplog.text
    assert (second.status, second.result) == ("ok", first.result)


def test_a_cell_whose_data_changes_while_it_runs_has_no_result(short: Registry, patterns: Path, tmp_path: Path) -> None:
    changed: list[Path] = []

    def events(event: Event) -> None:
        if isinstance(event, Epoch) and not changed:
            changed.append(overwrite(patterns))

    record = run_cell(plan(short, patterns, tmp_path, "inline").job, short, events, StopRequests())
    assert record.status == "failed"
    assert record.error is not None and changed[0].name in record.error.line


@pytest.mark.parametrize(
    ("device", "free_of_device"), [("cpu", None), ("cuda", 10**9)], ids=["memory", "memory of a device"]
)
def test_images_that_do_not_fit_into_memory_are_refused_with_the_figures(
    monkeypatch: pytest.MonkeyPatch, device: str, free_of_device: int | None
) -> None:
    free: Callable[[], object] = lambda: SimpleNamespace(available=20 * 10**9)  # noqa: E731
    monkeypatch.setattr(memory.psutil, "virtual_memory", free)
    monkeypatch.setattr(memory.torch.cuda, "mem_get_info", lambda device: (free_of_device, 0))
    check_memory((6000, 224, 224, 3), torch.device(device))
    with pytest.raises(DataError, match=r"287,651 images of 224 pixels take 43\.3 GB") as caught:
        check_memory((287_651, 224, 224, 3), torch.device(device))
    assert ("1.0 GB are free" if free_of_device else "20.0 GB are free") in str(caught.value)
