"""What a shell is offered, asked as click's scripts ask."""

import shutil
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from ferbench.cli.main import app
from ferbench.cli.session import Session
from ferbench.discovery.registry import Registry
from tests.unit.records.factory import make_cell, write_record


def offered(*words: str) -> list[str]:
    """What is offered for the last word."""
    *before, incomplete = words
    found = ShellComplete(app, {"obj": Session()}, "ferbench", "_FERBENCH_COMPLETE").get_completions(before, incomplete)
    return [item.value if item.type == "plain" else f"<{item.type}>" for item in found]


def test_names_of_every_kind_are_completed(registry: Registry) -> None:
    assert set(offered("run", "--method", "")) == set(registry.entries["methods"])
    assert offered("run", "--method", "fixm") == ["fixmatch"]
    assert offered("run", "--protocol", "rat") == ["ratio-v1", "ratio-v2"]
    assert offered("run", "--head", "lin") == ["linear"]
    assert offered("run", "--executor", "in") == ["inline"]
    assert offered("run", "--init", "scr") == ["scratch"]
    assert offered("audit", "superv") == ["supervised"]
    assert "image-folder" in offered("prepare", "im")
    assert offered("list", "back") == ["backbones"]
    assert "status" in offered("st")


def test_a_list_of_names_goes_on_behind_the_comma() -> None:
    assert offered("run", "--method", "fixmatch,superv") == ["fixmatch,supervised"]
    assert offered("run", "--method", "fixmatch,fixm") == []


def test_a_family_of_backbones_is_offered_with_a_member() -> None:
    assert offered("run", "--backbone", "ti") == ["timm/resnet18"]


def test_prepared_datasets_are_offered_and_folders_where_none_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FERBENCH_CACHE", str(tmp_path))
    (tmp_path / "prepared" / "my-faces").mkdir(parents=True)
    (tmp_path / "prepared" / "my-faces" / "source.json").write_text("{}")
    assert offered("run", "--dataset", "my") == ["my-faces"]
    assert offered("run", "--test-on", "my") == ["my-faces"]
    assert offered("run", "--dataset", "./") == ["<dir>"]


def test_runs_are_offered_from_the_folder_that_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = make_cell()
    write_record(tmp_path / "mine", cell)
    assert offered("logs", "--runs", str(tmp_path / "mine"), "ratio") == [str(cell.folder())]
    assert offered("compare", "--runs", str(tmp_path / "mine"), "fix") == ["fixmatch"]
    monkeypatch.setenv("FERBENCH_RUNS", str(tmp_path / "mine"))
    assert offered("cancel", "") == [str(cell.folder())]
    for verb in ("report", "export", "reproduce", "predict"):
        assert offered(verb, f"{tmp_path}/mine/r") == [str(tmp_path / "mine" / cell.folder())]
        assert offered(verb, "elsewhere/") == ["<file>"]


def test_a_record_that_lies_elsewhere_breaks_no_completion(tmp_path: Path) -> None:
    path = write_record(tmp_path, make_cell())
    (tmp_path / "copy").mkdir()
    shutil.copy(path, tmp_path / "copy")
    assert offered("compare", "--runs", str(tmp_path), "fix") == ["fixmatch"]
    assert offered("compare", "--runs", str(tmp_path / "copy"), "fix") == ["<file>"]


def test_where_there_are_no_runs_nothing_is_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FERBENCH_RUNS", str(tmp_path / "nothing"))
    assert offered("logs", "") == []
