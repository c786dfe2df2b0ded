"""What `ferbench doctor` finds in folders; the whole command is tested in e2e."""

import os
from pathlib import Path

import pytest

from ferbench.cli import diagnosis
from ferbench.cli.diagnosis import check_folder
from ferbench.discovery.loader import load_registry


@pytest.mark.process
def test_folder_that_does_not_exist_yet_is_fine_and_stays_absent(tmp_path: Path) -> None:
    (check,) = check_folder("runs folder", tmp_path / "a" / "b", "--runs")
    assert (check.result, check.exit_code) == ("ok", 0)
    assert list(tmp_path.iterdir()) == []


def test_folder_below_a_file_is_a_failure_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    (check,) = check_folder("runs folder", tmp_path / "file" / "runs", "--runs or FERBENCH_RUNS")
    assert (check.result, check.exit_code) == ("FAILED", 1)
    assert check.remedy.endswith("choose another with --runs or FERBENCH_RUNS")


def test_a_link_to_a_folder_that_is_not_mounted_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "runs").symlink_to(tmp_path / "not mounted")
    (check,) = check_folder("runs folder", tmp_path / "runs", "--runs")
    assert (check.result, check.exit_code) == ("FAILED", 1)


@pytest.mark.process
def test_a_shared_file_system_is_named_with_what_its_leases_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnosis, "_file_system", lambda place: "nfs4")
    (check,) = check_folder("runs folder", tmp_path, "--runs")
    assert check.result == "ok"
    assert "on nfs4: the cell of a machine that is gone is free after 180 s" in check.detail


def test_the_file_system_of_a_folder_is_that_of_the_deepest_mount() -> None:
    assert diagnosis._file_system(Path("/proc/self")) == "proc"


@pytest.mark.process
def test_little_space_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "LOW_DISK", 2**70)
    (check,) = check_folder("data cache", tmp_path, "FERBENCH_CACHE")
    assert (check.result, check.exit_code) == ("warning", 0)
    assert "FERBENCH_CACHE" in check.remedy


def test_without_a_set_to_run_on_the_way_to_the_default_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FERBENCH_CACHE", str(tmp_path))
    registry = load_registry({}, [])  # the core alone: its readers of anybody's images are no data
    found, missing = diagnosis.check_datasets(registry)
    assert "image-folder" in found.detail
    assert (missing.result, missing.exit_code) == ("FAILED", 4)
    assert "plugins/ferbench-synthfaces" in missing.remedy

    (tmp_path / "prepared" / "mine").mkdir(parents=True)
    (tmp_path / "prepared" / "mine" / "source.json").touch()
    found, missing = diagnosis.check_datasets(registry)
    assert found.detail.endswith("prepared: mine")
    assert (missing.result, missing.exit_code) == ("warning", 0)
    assert "plugins/ferbench-synthfaces" in missing.remedy


@pytest.mark.process
def test_check_that_breaks_stops_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> int:
        raise RuntimeError("no such sensor")

    monkeypatch.setattr(os, "sysconf", broken)
    checks = {check.name: check for check in diagnosis.diagnose(tmp_path)}
    assert checks["memory"].result == "FAILED"
    assert "no such sensor" in checks["memory"].detail
    assert checks["runs folder"].result == "ok"
