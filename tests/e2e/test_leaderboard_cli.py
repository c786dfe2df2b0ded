import json
import re
from pathlib import Path

import pytest

from ferbench.cli.main import main
from ferbench.leaderboard.columns import COLUMNS
from tests.unit.records.factory import STAMP, make_cell, write_failure, write_record

REPORTED = Path(__file__).parents[2] / "leaderboard" / "reported"


@pytest.fixture
def board(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # The records are not of the built-in images, which another test may have packed.
    monkeypatch.setenv("FERBENCH_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "leaderboard" / "records"
    for seed in range(2):
        write_record(root, make_cell("supervised", seed), skill=1.5)
        write_record(root, make_cell("fixmatch", seed), skill=2.5)
    write_failure(root, make_cell("dtm"))
    return tmp_path / "leaderboard"


def test_build_writes_the_files_and_shows_the_table(board, capsys):
    assert main(["leaderboard", "build"]) == 0
    out = capsys.readouterr().out
    assert "supervised (weak views)" in out
    assert "wrote leaderboard/leaderboard.csv" in out
    first = {path.name: path.read_bytes() for path in board.glob("leaderboard.*")}
    assert sorted(first) == ["leaderboard.csv", "leaderboard.json", "leaderboard.md"]
    assert main(["leaderboard", "build"]) == 0
    assert {path.name: path.read_bytes() for path in board.glob("leaderboard.*")} == first


def test_check_names_stale_files_and_the_command(board, capsys):
    assert main(["leaderboard", "check"]) == 5
    assert main(["leaderboard", "build"]) == 0
    assert main(["leaderboard", "check"]) == 0
    write_record(board / "records", make_cell(seed=2))
    capsys.readouterr()
    assert main(["leaderboard", "check"]) == 5
    error = capsys.readouterr().err
    assert "leaderboard/leaderboard.md are out of date" in error
    assert "`ferbench leaderboard build --records leaderboard/records --out leaderboard`" in error


def test_a_broken_record_is_named_left_out_and_ends_in_5(board, capsys):
    path = board / "records" / make_cell(seed=1).folder() / "record.json"
    path.write_text("{")
    assert main(["leaderboard", "build"]) == 5
    error = capsys.readouterr().err
    assert str(path.relative_to(board.parent)) in error
    assert json.loads((board / "leaderboard.json").read_text())["records"] == 4
    assert main(["leaderboard", "check"]) == 5


def test_published_numbers_are_read_beside_the_tables_and_a_defect_ends_in_5(board, capsys):
    assert main(["leaderboard", "build"]) == 0
    (board / "reported").mkdir()
    for paper in REPORTED.glob("*.toml"):
        (board / "reported" / paper.name).write_bytes(paper.read_bytes())
    assert main(["leaderboard", "check"]) == 5
    assert main(["leaderboard", "build"]) == 0
    assert main(["leaderboard", "check"]) == 0
    assert "Published values without a measured row: 121" in capsys.readouterr().out
    paper = board / "reported" / "ada-cm.toml"
    paper.write_text(paper.read_text().replace("84.42", "884.42"))
    for command in ("build", "check"):
        assert main(["leaderboard", command]) == 5
        error = capsys.readouterr().err
        assert "leaderboard/reported/ada-cm.toml: " in error and "('Ada-CM') = 884.42" in error


def test_no_folder_of_records_is_a_usage_error(board, capsys):
    assert main(["leaderboard", "build", "--records", "nowhere"]) == 2
    assert "--records" in capsys.readouterr().err


def test_a_folder_of_overrides_alone_is_told_apart_from_an_empty_one(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FERBENCH_CACHE", str(tmp_path / "cache"))  # the records are not of data on this machine
    for seed in range(2):
        write_record(tmp_path / "runs", make_cell("fixmatch", seed, overrides={"protocol": {"steps": 60}}))
    assert main(["leaderboard", "build", "--runs", "runs", "--out", "tables"]) == 0
    text = "2 records: none in a table, 2 not standard, shown only with --include-nonstandard"
    assert text in capsys.readouterr().out
    assert text in (tmp_path / "tables" / "leaderboard.md").read_text()


def test_runs_with_overrides_are_shown_on_request_only(board, capsys):
    write_record(board / "records", make_cell(overrides={"protocol": {"steps": 60}}))
    assert main(["leaderboard", "build"]) == 0
    assert "Not standard" not in capsys.readouterr().out
    assert main(["leaderboard", "build", "--runs", "leaderboard/records", "--include-nonstandard"]) == 0
    assert "Not standard (overrides steps=60): synthfaces" in capsys.readouterr().out


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_a_terminal_of_any_width_shows_whole_rows(board, capsys, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert main(["leaderboard", "build"]) == 0
    lines = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()
    table = lines[: next(number for number, line in enumerate(lines) if "Missing mandatory row" in line)]
    assert max(map(len, table)) <= width
    assert any("fixmatch" in line for line in table)
    assert any("Gain" in line for line in lines)


def test_export_writes_one_file_in_the_format_of_its_name(board, capsys):
    assert main(["leaderboard", "export", "paper.tex"]) == 0
    assert "wrote paper.tex" in capsys.readouterr().out
    assert "\\toprule" in (board.parent / "paper.tex").read_text()
    assert not list(board.glob("leaderboard.*"))
    assert main(["leaderboard", "export", "paper.doc"]) == 2
    assert ".tex, .parquet" in capsys.readouterr().err


def test_a_pipe_gets_every_column_on_one_line_whatever_the_length_of_a_name(board, capsys):
    changes = {"plugin": STAMP.model_copy(update={"title": "a method with a name " * 3})}
    for seed in range(2):
        write_record(board / "records", make_cell("leaf", seed), **changes)
    assert main(["leaderboard", "build"]) == 0
    out = capsys.readouterr().out.splitlines()
    titles = [column.title for column in COLUMNS if column.title and column.key not in ("published", "private_score")]
    assert any(all(title in line for title in titles) for line in out)
    (row,) = [line for line in out if " a method with" in line and "70" in line]
    assert row.rstrip().endswith("70")  # the labels are the last column


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_site_writes_the_same_pages_again_and_leaves_older_editions(board, capsys):
    assert main(["leaderboard", "build"]) == 0
    assert main(["leaderboard", "site", "--out", "site", "--edition", "0.1"]) == 0
    assert capsys.readouterr().out.endswith("open site/index.html\n")
    first = tree(Path("site/0.1"))
    write_record(board / "records", make_cell("leaf"))
    words = ["leaderboard", "site", "--out", "site", "--edition", "0.2", "--since", "leaderboard/leaderboard.json"]
    assert main(words) == 0
    second = tree(Path("site"))
    assert {name.removeprefix("0.1/"): data for name, data in second.items() if name.startswith("0.1/")} == first
    assert "leaf" in second["0.2/changes.html"].decode()
    assert main(words) == 0
    assert tree(Path("site")) == second


def test_site_without_a_folder_to_write_to_is_a_usage_error(board, capsys):
    assert main(["leaderboard", "site"]) == 2
    assert "--out" in capsys.readouterr().err


def test_a_broken_record_is_not_on_the_site_and_ends_in_5(board, capsys):
    path = board / "records" / make_cell(seed=1).folder() / "record.json"
    path.write_text("{")
    assert main(["leaderboard", "site", "--out", "site", "--edition", "1"]) == 5
    assert str(path.relative_to(board.parent)) in capsys.readouterr().err
    assert not list(Path("site").glob("1/records/**/fixmatch/**/seed1"))
    assert list(Path("site").glob("1/records/**/fixmatch/**/seed0"))


def test_diff_shows_rows_that_came_and_changed(board, capsys):
    assert main(["leaderboard", "build"]) == 0
    (board / "leaderboard.json").rename("before.json")
    write_record(board / "records", make_cell("leaf"))
    write_record(board / "records", make_cell("fixmatch", 2), skill=2.5)
    assert main(["leaderboard", "build"]) == 0
    capsys.readouterr()
    assert main(["leaderboard", "diff", "before.json", "leaderboard/leaderboard.json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    kinds = {(line.split()[0], line.split()[1]) for line in lines[1:-1]}
    assert {("new", "leaf"), ("changed", "fixmatch")} <= kinds
    assert lines[-1] == f"{len(lines) - 2} rows changed"
    assert main(["leaderboard", "diff", "before.json", "before.json"]) == 0
    assert capsys.readouterr().out == "0 rows changed\n"
    Path("odd.json").write_text("{}")
    assert main(["leaderboard", "diff", "odd.json", "before.json"]) == 5
    assert "odd.json" in capsys.readouterr().err
