"""What processes share is made by one of them; who was paused and has lost its lease replaces nothing."""

import shutil
import threading
from pathlib import Path

import pytest

from ferbench.data.cache import publish
from ferbench.data.prepare import pack
from ferbench.data.prepare.pack import ensure_packed
from ferbench.errors import DataError
from ferbench.readers.parquet import ParquetDataset
from tests.support.pattern_set import write_pattern_set
from tests.unit.records.test_lease import left_by


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ParquetDataset:
    monkeypatch.setenv("FERBENCH_CACHE", str(tmp_path / "cache"))
    return ParquetDataset(write_pattern_set(tmp_path / "shared", name="shared"))


@pytest.mark.parametrize("loss", [None, FileNotFoundError("its folder was renamed by the successor")])
def test_whoever_wakes_after_a_takeover_waits_for_the_successor(
    dataset: ParquetDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loss: OSError | None
) -> None:
    packed = tmp_path / "cache" / "packed"
    whole = ensure_packed(dataset, 16).rename(tmp_path / "by the successor")
    calls: list[Path] = []

    def paused(made: ParquetDataset, size: int, folder: Path, *more: object) -> None:
        calls.append(folder)
        lease = left_by(packed / ".shared-16px.lease", age=0, number=9)

        def finish() -> None:
            publish(Path(shutil.copytree(whole, packed / "theirs")), pack.packed_folder(made, size))
            lease.unlink()

        threading.Timer(0.5, finish).start()
        if loss is not None:
            raise loss
        real(made, size, folder, *more)  # type: ignore[arg-type]

    real = pack._pack
    monkeypatch.setattr(pack, "_pack", paused)
    found = ensure_packed(dataset, 16)
    assert len(calls) == 1
    assert {path.name for path in found.iterdir()} == {path.name for path in whole.iterdir()}
    assert [path.name for path in packed.iterdir() if not path.name.startswith(".")] == [found.name]


def test_an_error_of_its_own_is_told(dataset: ParquetDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pack, "_pack", full)
    with pytest.raises(DataError, match="No space left on device"):
        ensure_packed(dataset, 16)


def test_a_folder_whose_files_stay_because_they_are_open_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on NFS, where a file that is removed while it is open gets another name in the same folder."""
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "images.arrow").write_text(name)
    monkeypatch.setattr(shutil, "rmtree", lambda folder, **_: None)
    publish(tmp_path / "new", tmp_path / "old")
    assert (tmp_path / "old" / "images.arrow").read_text() == "new"
    assert not (tmp_path / "new").exists()
