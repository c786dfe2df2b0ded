import csv
import io
import json

import pytest
from markdown_it import MarkdownIt

from ferbench.discovery.loader import builtin_protocols
from ferbench.leaderboard.build import build, render, stale
from ferbench.leaderboard.columns import further_columns, main_columns
from ferbench.leaderboard.tables import make_board
from ferbench.records.frame import frame_of
from ferbench.records.schema import ErrorReport, Measured
from ferbench.records.verification import collect
from tests.unit.records.factory import (
    make_cell,
    make_history,
    make_predictions,
    make_record,
    write_failure,
    write_record,
)

NASTY = "<img src=x onerror=alert(1)> | [x](http://evil.example) `a`\n=cmd"


def cells_of(root):
    """The frame of the records that may enter a table."""
    found = collect(root, builtin_protocols()).records
    return frame_of(found.values(), found)


@pytest.fixture
def records(tmp_path):
    for method in ("supervised", "fixmatch"):
        for seed in range(3):
            write_record(tmp_path, make_cell(method, seed), skill=1.5 if method == "supervised" else 2.5)
    write_record(tmp_path, make_cell("ada-cm"))
    write_record(tmp_path, make_cell(overrides={"method": {"threshold": 0.5}}))
    write_failure(tmp_path, make_cell("dtm"))
    return tmp_path


@pytest.mark.slow
def test_building_again_gives_the_same_bytes_in_any_order(records):
    found = cells_of(records)
    for nonstandard in (False, True):
        first = render(make_board(found, nonstandard))
        for seed in range(5):
            assert render(make_board(found.sample(frac=1, random_state=seed), nonstandard)) == first


def test_files_do_not_depend_on_where_the_records_lie(records, tmp_path_factory):
    moved = tmp_path_factory.mktemp("elsewhere") / "runs"
    before = render(make_board(cells_of(records)))
    records.rename(moved)
    assert render(make_board(cells_of(moved))) == before
    records.mkdir()


def test_tests_on_other_sets_are_apart_in_every_file(records):
    write_record(records, make_cell(test_on="jaffe"))
    files = render(make_board(cells_of(records)))
    rows = list(csv.DictReader(io.StringIO(files["leaderboard.csv"].decode())))
    assert [row["test_on"] for row in rows] == ["", "", "", "jaffe"]
    own, crossed = json.loads(files["leaderboard.json"])["tables"]
    assert (own["test_on"], crossed["test_on"]) == (None, "jaffe")
    assert [row["optimism"] for row in crossed["rows"]] == [None]
    assert b"## trained on synthfaces, 7 classes, tested on jaffe" in files["leaderboard.md"]


def test_stale_files_are_named(records, tmp_path):
    out = tmp_path / "out"
    found = cells_of(records)
    assert len(stale(found, out, False)) == 3
    build(found, out, False)
    assert stale(found, out, False) == []
    assert len(stale(found, out, True)) == 3
    (out / "leaderboard.csv").write_text("edited")
    assert stale(found, out, False) == [out / "leaderboard.csv"]
    write_record(records, make_cell(seed=3))
    assert len(stale(cells_of(records), out, False)) == 3


def test_broken_and_edited_records_are_left_out(records):
    paths = [records / make_cell("fixmatch", seed).folder() / "record.json" for seed in range(2)]
    paths[0].write_text("{}")
    fields = json.loads(paths[1].read_text())
    fields["result"]["metrics"]["accuracy"] = 1.0
    paths[1].write_text(json.dumps(fields))
    found = collect(records, builtin_protocols())
    assert set(found.problems) == set(paths)
    assert "accuracy is recorded as 1.0" in found.problems[paths[1]]
    assert {
        record.cell.seed for record in found.records.values() if record.cell.row == "fixmatch" and record.standard
    } == {2}


def test_two_records_of_one_cell_are_both_left_out(records):
    path = records / make_cell("ada-cm").folder()
    twin = records / "copy"
    twin.mkdir()
    (twin / "record.json").write_bytes((path / "record.json").read_bytes())
    found = collect(records, builtin_protocols())
    assert set(found.problems) == {path / "record.json", twin / "record.json"}
    assert "ada-cm" not in {record.cell.method for record in found.records.values()}


def nasty_board():
    predictions, history = make_predictions(), make_history()
    measured = Measured(started_at="2026-01-01T00:00:00+00:00", device=NASTY)
    overrides = {"protocol": {"schedule": NASTY}, "method": {"mode": NASTY}}
    made = make_record(make_cell(overrides=overrides), predictions, history, measured=measured)
    names = [*made.result.class_names[:-1], NASTY]
    recalls = dict(zip(names, made.result.metrics.per_class_recall.values(), strict=True))
    metrics = made.result.metrics.model_copy(update={"per_class_recall": recalls})
    result = made.result.model_copy(update={"class_names": names, "metrics": metrics})
    error = ErrorReport(type=NASTY, message=NASTY)
    failure = make_record(make_cell("dtm"), predictions, history, status="failed", result=None, error=error)
    cells = frame_of([made.model_copy(update={"result": result}), failure])
    return make_board(cells, include_nonstandard=True)


def test_strings_of_strangers_are_escaped_in_markdown():
    board = nasty_board()
    page = render(board)["leaderboard.md"].decode()
    body = page.partition("-->")[2]
    tokens = MarkdownIt("commonmark").enable("table").parse(body)
    kinds = {child.type for token in tokens for child in token.children or ()}
    assert kinds <= {"text", "text_special", "softbreak", "strong_open", "strong_close", "code_inline"}
    assert "html_block" not in {token.type for token in tokens}
    codes = {child.content for token in tokens for child in token.children or () if child.type == "code_inline"}
    assert codes <= {"ferbench leaderboard build"}
    assert "://" not in body
    (table,) = board.tables
    widths = {len(main_columns(table)), len(further_columns(table)), 1 + len(table.key.class_names), 3}
    bars = {line.replace("\\|", "").count("|") for line in body.splitlines() if line.startswith("|")}
    assert bars == {width + 1 for width in widths}  # no cell was split by a pipe of a stranger


def test_strings_of_strangers_are_no_formulas_in_csv():
    text = render(nasty_board())["leaderboard.csv"].decode()
    for row in csv.reader(io.StringIO(text)):
        assert not any(value.startswith(("=", "@", "+")) for value in row)


def test_csv_and_json_have_every_row(records):
    board = make_board(cells_of(records))
    files = render(board)
    rows = list(csv.DictReader(io.StringIO(files["leaderboard.csv"].decode())))
    assert [(row["method"], row["complete"], row["seeds"]) for row in rows] == [
        ("fixmatch", "yes", "0 1 2"),
        ("supervised@weak", "yes", "0 1 2"),
        ("ada-cm", "no", "0"),
    ]
    assert rows[2]["accuracy_mean"] == ""
    assert rows[0]["gain_over"] == "supervised@weak"
    (table,) = json.loads(files["leaderboard.json"])["tables"]
    assert table["rows"][0]["gain"]["pairs"] == 3
    assert float(rows[0]["accuracy_mean"]) == table["rows"][0]["metrics"]["accuracy"]["mean"]


def test_the_page_of_no_records_says_what_to_do():
    assert "ferbench run" in render(make_board(frame_of([])))["leaderboard.md"].decode()


def test_the_page_marks_incomplete_rows(records):
    page = render(make_board(cells_of(records)))["leaderboard.md"].decode()
    assert "| – | ada-cm | incomplete (1 of 3 seeds) | – | – |" in page
    assert "| 1 | fixmatch | 3 (0–2) | " in page
    assert "Cells without a result" in page
