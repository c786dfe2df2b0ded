import pytest

from ferbench.leaderboard.build import render
from ferbench.leaderboard.summary import records_line, summary
from ferbench.leaderboard.tables import make_board
from ferbench.leaderboard.wording import headings, tied_text
from ferbench.records.cell import Budget
from ferbench.records.frame import frame_of
from ferbench.records.schema import ErrorReport
from tests.unit.records.factory import make_cell, make_history, make_predictions, make_record


def record(method, seed, skill=2.0, changes=None, **cell):
    return make_record(
        make_cell(method, seed, **cell), make_predictions(skill, seed), make_history(), **(changes or {})
    )


def rows(seeds=5, **cell):
    skills = {"supervised": 1.5, "fixmatch": 2.5, "ada-cm": 2.5}
    return [record(method, seed, skill, **cell) for method, skill in skills.items() for seed in range(seeds)]


def lines(records, **options):
    return summary(make_board(frame_of(records), **options))


def test_it_names_the_leader_its_ties_its_gain_and_what_could_be_seen():
    first, leader, seen, covered, gaps = lines(rows())
    assert first == "15 records: 15 in 1 table."
    assert leader.startswith("synthfaces, 7 classes, 5 % of the labels, ratio-v1, small-resnet: ada-cm leads with ")
    assert "; tied with fixmatch; gain +" in leader
    assert "Tied: 1 of 2 pairs of neighbouring rows." in seen and "power of 80 %" in seen
    assert covered.startswith("Covered: synthfaces; 5 % of the labels; small-resnet;")
    assert gaps == "Gaps: of 1 table, 1 without supervised (strong views) and full supervision."


def test_few_seeds_are_said_to_tell_nothing_apart():
    assert "3 seeds, too few" in lines(rows(3))[1]


def test_ten_lines_are_enough_for_any_board():
    many = [each for ratio in range(1, 13) for each in rows(2, budget=Budget(ratio=f"0.{ratio:02d}"))]
    assert len(lines(many)) == 10
    assert any("7 more tables" in line for line in lines(many))
    assert len(lines([])) == 1


def test_it_says_which_records_no_table_shows_and_why():
    short = [record("fixmatch", seed, overrides={"protocol": {"steps": 60}}) for seed in range(2)]
    error = ErrorReport(type="DivergedError", message="loss is not finite")
    failed = record("dtm", 0, changes={"status": "diverged", "result": None, "error": error})
    frame = frame_of([*rows(), *short, failed])
    frame.attrs["problems"] = {"x/record.json": "no JSON"}
    assert records_line(make_board(frame)) == (
        "18 records: 15 in 1 table, 1 without a result, 2 not standard, shown only with --include-nonstandard "
        "(2: overrides protocol.steps=60), and 1 more broken and omitted."
    )
    page = render(make_board(frame_of(short)))["leaderboard.md"].decode()
    assert "2 records: none in a table, 2 not standard, shown only with --include-nonstandard" in page
    assert "no results yet" not in page


@pytest.mark.parametrize("change", [{"init": f"sha256:{'1' * 64}"}, {"precision": "bf16"}, {"backbone": "small-vit"}])
def test_no_two_tables_have_one_heading(change):
    board = make_board(frame_of([*rows(2), *rows(2, **change)]))
    names = headings([table.key for table in board.tables])
    assert len(set(names.values())) == len(board.tables) == 2
    page = render(board)["leaderboard.md"].decode()
    found = [line for line in page.splitlines() if line.startswith("#")]
    assert len(set(found)) == len(found)


def test_tables_of_other_data_are_named_by_it():
    one, other = record("fixmatch", 0), record("ada-cm", 0)
    prints = other.result.fingerprints.model_copy(update={"data": "f" * 64})
    other = other.model_copy(update={"result": other.result.model_copy(update={"fingerprints": prints})})
    names = headings([table.key for table in make_board(frame_of([one, other])).tables])
    assert sorted(name.rpartition(", ")[2] for name in names.values())[1] == "data ffffffffffff"


def test_ties_are_the_numbers_of_rows():
    (table,) = make_board(frame_of(rows())).tables
    assert [tied_text(row, table) for row in table.rows] == ["2", "1", "none"]
