"""What changed between two leaderboard.json files."""

import json

import pytest

from ferbench.errors import VerificationError
from ferbench.leaderboard.changes import changes, read_edition
from ferbench.leaderboard.exports import render_json
from ferbench.leaderboard.tables import make_board
from ferbench.records.frame import frame_of
from tests.unit.records.factory import make_cell, make_history, make_predictions, make_record


def written(path, *cells, skill=2.0):
    records = [make_record(cell, make_predictions(skill, cell.seed), make_history()) for cell in cells]
    path.write_bytes(render_json(make_board(frame_of(records))))
    return path


@pytest.fixture
def before(tmp_path):
    return written(tmp_path / "before.json", make_cell("supervised"), make_cell("fixmatch"))


def found(before, after):
    return [(change.kind, change.row) for change in changes(read_edition(before), read_edition(after))]


def test_an_equal_board_has_no_changes(before, tmp_path):
    assert found(before, written(tmp_path / "after.json", make_cell("fixmatch"), make_cell("supervised"))) == []


def test_rows_come_go_and_change(before, tmp_path):
    after = written(tmp_path / "after.json", make_cell("fixmatch"), make_cell("fixmatch", 1), make_cell("leaf"))
    assert sorted(found(before, after)) == [
        ("changed", "fixmatch"),
        ("gone", "supervised (weak views)"),
        ("new", "leaf"),
    ]
    fixmatch = next(change for change in changes(read_edition(before), read_edition(after)) if change.row == "fixmatch")
    assert fixmatch.before.startswith("#") and " ± " not in fixmatch.before and " ± " in fixmatch.after
    assert "metrics.accuracy.mean" in fixmatch.fields and "headline_by_seed.1" in fixmatch.fields


def test_a_table_of_other_data_is_another_table(before, tmp_path):
    board = json.loads(before.read_bytes())
    board["tables"][0]["data"] = "0" * 64
    after = tmp_path / "after.json"
    after.write_text(json.dumps(board))
    assert sorted(kind for kind, _ in found(before, after)) == ["gone", "gone", "new", "new"]


@pytest.mark.parametrize("reverse", [False, True])
def test_tables_that_differ_only_in_their_test_images_are_compared_each_with_itself(before, tmp_path, reverse):
    board = json.loads(before.read_bytes())
    (table,) = board["tables"]
    other = json.loads(json.dumps(table))
    other["test_images"]["fear"] += 1
    both = tmp_path / "both.json"
    both.write_text(json.dumps({**board, "tables": [table, other]}))
    assert [kind for kind, _ in found(before, both)] == ["new", "new"]
    assert [kind for kind, _ in found(both, before)] == ["gone", "gone"]
    changed = json.loads(json.dumps(other))
    changed["rows"][0]["minutes_median"] = 1e6
    after = tmp_path / "after.json"
    tables = [changed, table] if reverse else [table, changed]
    after.write_text(json.dumps({**board, "tables": tables}))
    assert [kind for kind, _ in found(both, after)] == ["changed"]


def test_more_test_images_of_a_table_are_a_change_of_no_row(before, tmp_path):
    board = json.loads(before.read_bytes())
    board["tables"][0]["test_images"]["fear"] += 1
    after = tmp_path / "after.json"
    after.write_text(json.dumps(board))
    assert found(before, after) == []


def test_only_another_place_is_a_change(before, tmp_path):
    board = json.loads(before.read_bytes())
    board["tables"][0]["rows"].reverse()
    after = tmp_path / "after.json"
    after.write_text(json.dumps(board))
    (one, other) = changes(read_edition(before), read_edition(after))
    assert {one.before[:2], other.before[:2]} == {one.after[:2], other.after[:2]} == {"#1", "#2"}
    assert one.fields == other.fields == ()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"records": 1, "tables": [{}]}',
        '{"records": 1, "tables": [{"headline": "x", "rows": []}]}',
        "\xff",
        "NaN",
    ],
)
def test_what_is_no_board_is_named(tmp_path, content):
    path = tmp_path / "odd.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(VerificationError, match=r"odd\.json: .*ferbench leaderboard build"):
        read_edition(path)
