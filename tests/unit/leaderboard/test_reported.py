import csv
import io
import json
import re
from decimal import Decimal
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from ferbench.errors import VerificationError
from ferbench.leaderboard.build import build, render, stale
from ferbench.leaderboard.columns import text_columns
from ferbench.leaderboard.reported import FIELDS, read_paper, read_reported
from ferbench.leaderboard.tables import make_board
from ferbench.leaderboard.wording import footnotes
from ferbench.records.cell import Budget
from ferbench.records.frame import frame_of
from tests.unit.records.factory import make_cell, make_history, make_predictions, make_record

COMMITTED = Path(__file__).parents[3] / "leaderboard" / "reported"
NASTY = "<img src=x onerror=alert(1)> | [x](http://evil.example) `a` =cmd"

PAPER = """
format = 1
citation = "Doe et al., 2026"

[[tables]]
source = "Table 2"
address = "https://papers.example/doe"
metric = "accuracy"
selected_on = "best test epoch"
protocol = "20,000 steps"
backbone = "ResNet-18, ImageNet weights"

[[tables.results]]
dataset = "synthfaces"
classes = "7"
budgets = [{ ratio = 0.05 }, { ratio = 0.1 }]
note = "A remark."
rows = [
    { title = "FixMatch", method = "fixmatch", percent = [50.10, 60.2] },
    { title = "Ours", percent = [51.3, 61] },
]
"""


@pytest.fixture
def folder(tmp_path):
    """A folder `reported` with the paper above."""
    made = tmp_path / "reported"
    made.mkdir()
    (made / "doe.toml").write_text(PAPER)
    return made


def changed(folder, old, new):
    """What papers print, after a change of the file."""
    assert old in PAPER
    (folder / "doe.toml").write_text(PAPER.replace(old, new))
    return read_reported(folder)


def board_of(records, *arguments, **options):
    return make_board(frame_of(records), *arguments, **options)


def record(method="fixmatch", seed=0, skill=2.0, **cell):
    return make_record(make_cell(method, seed, **cell), make_predictions(skill, seed), make_history())


def texts(row, table):
    """What people read of a row, by the heading of the column."""
    return {column.title: column.text(row, table) for column in text_columns(table)}


def records():
    return [
        record(method, seed, skill) for method, skill in (("fixmatch", 2.5), ("supervised", 1.5)) for seed in (0, 1)
    ]


# The format


def test_a_file_gives_each_value_as_printed(folder):
    values = read_reported(folder)
    assert [(value.title, value.method, value.budget.label(), f"{value.percent}") for value in values] == [
        ("FixMatch", "fixmatch", "ratio-0.05", "50.10"),
        ("FixMatch", "fixmatch", "ratio-0.1", "60.2"),
        ("Ours", None, "ratio-0.05", "51.3"),
        ("Ours", None, "ratio-0.1", "61"),
    ]
    block = values[0].block
    assert (block.dataset, block.classes, block.test_images, block.note) == ("synthfaces", "7", None, "A remark.")
    assert block.origin.selected_on == "best test epoch"


def test_no_folder_means_nothing_published(tmp_path):
    assert read_reported(tmp_path / "reported") == ()


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("51.3, 61]", "151.3, 61]", r"results\[0\]\.rows\[1\]\.percent\[0\] \('Ours'\) = 151\.3: .*less than or equal"),
        ("51.3, 61]", '"many", 61]', r"rows\[1\]\.percent\[0\] \('Ours'\) = 'many'"),
        ("51.3, 61]", "nan, 61]", r"rows\[1\]\.percent\[0\] \('Ours'\) = NaN"),
        ("51.3, 61]", "61]", r"results\[0\] \('synthfaces'\): 'Ours' has 1 values for 2 budgets"),
        ('"Ours"', '"FixMatch"', "title 'FixMatch' appears twice"),
        ('"Ours"', '"Ours", method = "fixmatch"', "method 'fixmatch' appears twice"),
        ("ratio = 0.1 ", "ratio = 0.05 ", "budget 'ratio-0.05' appears twice"),
        ("ratio = 0.1 ", "ratio = 10 ", r"budgets\[1\]\.ratio \('synthfaces'\) = 10: ratio must be above 0"),
        ("{ ratio = 0.1 }", "{ ratoi = 0.1 }", r"budgets\[1\]\.ratoi .*did you mean 'ratio'"),
        ("{ ratio = 0.1 }", "{ ratio = 0.1, count = 5 }", "give exactly one of ratio, count and per_class"),
        ('method = "fixmatch"', 'method = "Fix Match"', r"rows\[0\]\.method \('FixMatch'\) = 'Fix Match'"),
        ("selected_on", "selectd_on", "selected_on.*Field required"),
        ("note =", "notes =", r"notes \('synthfaces'\): unknown field; did you mean 'note'\?"),
        ('backbone = "ResNet-18', 'init = "../x; rm -r y"\nbackbone = "ResNet-18', r"init \('Table 2'\) = '../x; rm"),
        ('backbone = "ResNet-18', 'reproduced_by = "Papers"\nbackbone = "ResNet-18', r"reproduced_by .* = 'Papers'"),
        ('metric = "accuracy"', 'metric = "top-1"', r"tables\[0\]\.metric \('Table 2'\) = 'top-1'"),
        ("https://papers.example/doe", "javascript:alert(1)", r"tables\[0\]\.address \('Table 2'\)"),
        ("format = 1", "format = 2", "format = 2: Input should be 1"),
        ("format = 1", "format = ", "not TOML"),
    ],
)
def test_a_defect_is_named_with_file_entry_value_and_remedy(folder, old, new, named):
    with pytest.raises(VerificationError) as caught:
        changed(folder, old, new)
    text = str(caught.value)
    assert text.startswith(f"{folder / 'doe.toml'}: ")
    assert re.search(named, text), text
    assert "leaderboard/reported/README.md" in text
    assert "\n" not in text.replace("doe.toml", "")


def test_an_unreadable_file_is_named(folder):
    (folder / "doe.toml").unlink()
    (folder / "doe.toml").mkdir()
    with pytest.raises(VerificationError, match=r"doe\.toml: .*; make it readable or remove it"):
        read_reported(folder)


def test_every_field_is_in_the_guide():
    guide = (COMMITTED / "README.md").read_text()
    described = re.findall(r"`([\w.\[\]]+)`", "".join(re.findall(r"^\| (`.*?) \|", guide, re.MULTILINE)))
    assert {name.strip("[]").rpartition(".")[2] for name in described} == set(FIELDS)


def test_the_example_of_the_guide_is_a_valid_file(tmp_path):
    (example,) = re.findall(r"```toml\n(.+?)```", (COMMITTED / "README.md").read_text(), re.DOTALL)
    (tmp_path / "example.toml").write_text(example)
    assert len(list(read_paper(tmp_path / "example.toml").values())) == 4


# Beside measured rows


def test_a_value_stands_in_the_row_of_its_method_and_the_rest_apart(folder):
    board = board_of(records(), published=read_reported(folder))
    (table,) = board.tables
    shown = {row.name: texts(row, table)["Published"] for row in table.rows}
    assert shown == {"fixmatch": "50.10 [1]", "supervised@weak": "–"}
    assert footnotes(table) == (
        "[1] Doe et al., 2026: Table 2. Address: https://papers.example/doe. Selected on: best test epoch. "
        "Backbone: ResNet-18, ImageNet weights. Protocol: 20,000 steps. Here: small-resnet, trained from scratch. "
        "A remark.",
    )
    assert [f"{value.percent}" for value in board.not_reproduced] == ["60.2", "51.3", "61"]


@pytest.mark.parametrize(
    "change",
    [
        {"dataset": "raf-db"},
        {"classes": "8"},
        {"budget": Budget(ratio="0.01")},
        {"budget": Budget(count=5)},
        {"pool": "vggface2"},
        {"test_on": "jaffe"},
        {"variant": "released"},
        {"head": "leaf"},
        {"method": "ada-cm"},
        {"overrides": {"method": {"threshold": 0.5}}},
        {"overrides": {"protocol": {"steps": 60}}},
    ],
    ids=str,
)
def test_other_rows_and_tables_do_not_show_it(folder, change):
    board = board_of([record(**change)], include_nonstandard=True, published=read_reported(folder))
    (table,) = board.tables
    assert table.published == ()
    assert "Published" not in texts(table.rows[0], table)
    assert len(board.not_reproduced) == 4


def test_variants_and_heads_are_rows_of_their_own(folder):
    published = changed(folder, 'method = "fixmatch"', 'method = "fixmatch@released+leaf"')
    (table,) = board_of([record(variant="released", head="leaf")], published=published).tables
    assert [value.percent for value in table.published] == [Decimal("50.10")]


@pytest.mark.parametrize(("images", "shown"), [(210, 1), (7099, 0)])
def test_another_test_set_of_the_same_name_never_shares_a_table(folder, images, shown):
    published = changed(folder, 'classes = "7"', f'classes = "7"\ntest_images = {images}')
    (table,) = board_of(records(), published=published).tables
    assert len(table.published) == shown


def test_two_papers_on_one_row_have_a_footnote_each(folder):
    other = PAPER.replace("Doe", "Roe").replace("50.10", "48").replace('"accuracy"', '"macro_f1"')
    (folder / "roe.toml").write_text(other)
    (table,) = board_of(records(), published=read_reported(folder)).tables
    assert texts(table.rows[0], table)["Published"] == "50.10 [1], 48 macro-F1 [2]"
    assert [note[:7] for note in footnotes(table)] == ["[1] Doe", "[2] Roe"]


def test_published_values_change_nothing_that_is_computed(folder):
    without, beside = board_of(records()), board_of(records(), published=read_reported(folder))
    for plain, table in zip(without.tables, beside.tables, strict=True):
        assert (table.key, table.rows, table.baseline, table.notes) == (
            plain.key,
            plain.rows,
            plain.baseline,
            plain.notes,
        )
    assert (beside.failures, beside.records) == (without.failures, without.records)


# Files


def test_building_again_gives_the_same_bytes_and_a_change_is_noticed(folder):
    out = folder.parent
    found = frame_of(records())
    build(found, out, False)
    first = {path.name: path.read_bytes() for path in out.glob("leaderboard.*")}
    assert stale(found, out, False) == []
    build(found[::-1], out, False)
    assert {path.name: path.read_bytes() for path in out.glob("leaderboard.*")} == first
    changed(folder, "50.10", "50.11")
    assert len(stale(found, out, False)) == 3
    changed(folder, "best test epoch", "last epoch")
    assert len(stale(found, out, False)) == 3
    (folder / "doe.toml").unlink()
    assert len(stale(found, out, False)) == 3


def test_markdown_shows_both_places(folder):
    page = render(board_of(records(), published=read_reported(folder)))["leaderboard.md"].decode()
    measured, _, apart = page.partition("## Published, not reproduced")
    assert "| 50.10 \\[1\\] |" in measured
    assert "- \\[1\\] Doe et al., 2026: Table 2. " in measured
    assert "- Selected on: best test epoch" in apart
    assert "| FixMatch | above | 60.2 |" in apart
    assert "| Ours | 51.3 | 61 |" in apart


def test_csv_and_json_hold_every_value(folder):
    files = render(board_of(records(), published=read_reported(folder)))
    lines = list(csv.DictReader(io.StringIO(files["leaderboard.csv"].decode())))
    assert [(line["method"], line["budget"], line["published_percent"]) for line in lines] == [
        ("fixmatch", "ratio-0.05", "50.10"),
        ("supervised@weak", "ratio-0.05", ""),
        ("fixmatch", "ratio-0.1", "60.2"),
        ("", "ratio-0.05", "51.3"),
        ("", "ratio-0.1", "61"),
    ]
    assert {line["published_selected_on"] for line in lines if line["published_percent"]} == {"best test epoch"}
    assert not any(line["accuracy_mean"] or line["gain_mean"] for line in lines[2:])
    values = json.loads(files["leaderboard.json"])
    (beside,) = values["tables"][0]["published"]
    assert (beside["method"], beside["percent"], beside["selected_on"]) == ("fixmatch", 50.1, "best test epoch")
    assert [value["percent"] for value in values["not_reproduced"]] == [60.2, 51.3, 61.0]


def test_strings_of_a_file_are_escaped(folder):
    text = PAPER.replace("https://papers.example/doe", "https://papers.example/`[x](y)|z")
    for field in ("Doe et al., 2026", "Table 2", "best test epoch", "20,000 steps", "ResNet-18, ImageNet weights"):
        text = text.replace(field, NASTY)
    headings = render(board_of(records(), published=read_reported(folder)))["leaderboard.md"].count(b"\n#")
    text = text.replace("A remark.", f"# {NASTY}").replace('"FixMatch"', f"'={NASTY}'")
    (folder / "doe.toml").write_text(text)
    files = render(board_of(records(), published=read_reported(folder)))
    body = files["leaderboard.md"].decode().partition("-->")[2]
    tokens = MarkdownIt("commonmark").enable("table").parse(body)
    kinds = {child.type for token in tokens for child in token.children or ()}
    assert kinds <= {"text", "text_special", "softbreak", "strong_open", "strong_close", "code_inline"}
    codes = [child.content for token in tokens for child in token.children or () if child.type == "code_inline"]
    assert codes == ["ferbench run --dataset synthfaces --classes 7 --method fixmatch --ratio 0.1 --seed 0-4"], (
        "commands have nothing of a stranger but names"
    )
    assert "html_block" not in {token.type for token in tokens}
    assert "://" not in body
    assert [token.type for token in tokens].count("heading_open") == headings
    fields = [value for line in csv.reader(io.StringIO(files["leaderboard.csv"].decode())) for value in line]
    assert not any(value.startswith(("=", "@")) for value in fields)


# What is committed


def printed(name, dataset, classes, method, source=""):
    """`budget: percent` of one row of a committed file."""
    values = list(read_paper(COMMITTED / name).values())
    return {
        value.budget.label(): f"{value.percent}"
        for value in values
        if (value.block.dataset, value.block.classes, value.method) == (dataset, classes, method)
        and value.block.origin.source.startswith(source)
    }


def per_class(*percent):
    return dict(zip(("per-class-10", "per-class-25", "per-class-100", "per-class-250"), percent, strict=True))


def test_how_many_values_are_committed():
    counts = {path.name: len(list(read_paper(path).values())) for path in COMMITTED.glob("*.toml")}
    assert counts == {"ada-cm.toml": 1, "roy-etemad-2022.toml": 8 * 3 * 4, "ssfer.toml": 2 * 4 * 3}


@pytest.mark.parametrize(
    ("dataset", "method", "percent"),
    [
        ("fer2013", "pi-model", ("37.09", "40.87", "50.66", "56.42")),
        ("fer2013", "vat", ("24.95", "55.22", "51.55", "55.64")),
        ("fer2013", "fixmatch", ("47.88", "49.90", "59.46", "62.20")),
        ("raf-db", "pseudo-label", ("58.31", "39.11", "54.07", "67.40")),
        ("raf-db", "mean-teacher", ("62.05", "45.17", "45.57", "76.85")),
        ("raf-db", "mixmatch", ("36.34", "43.12", "64.14", "73.66")),
        ("affectnet", "uda", ("27.42", "32.16", "37.25", "37.64")),
        ("affectnet", "remixmatch", ("29.28", "33.54", "41.60", "46.51")),
        ("affectnet", "fixmatch", ("30.08", "38.31", "46.37", "51.25")),
    ],
)
def test_table_one_of_roy_and_etemad(dataset, method, percent):
    assert printed("roy-etemad-2022.toml", dataset, "7", method) == per_class(*percent)


def test_column_sums_of_roy_and_etemad():
    # Sums over the eight printed rows: no single value can change unseen.
    expected = {
        "fer2013": ("321.40", "376.72", "414.02", "463.64"),
        "raf-db": ("407.13", "372.34", "455.87", "546.54"),
        "affectnet": ("196.97", "238.06", "287.76", "335.45"),
    }
    methods = {value.method for value in read_paper(COMMITTED / "roy-etemad-2022.toml").values()}
    for dataset, sums in expected.items():
        rows = [printed("roy-etemad-2022.toml", dataset, "7", method) for method in methods]
        assert {label: f"{sum(Decimal(row[label]) for row in rows)}" for label in per_class(*sums)} == per_class(*sums)


@pytest.mark.parametrize(
    ("dataset", "classes", "ratios", "readme", "notebook"),
    [
        ("raf-db", "7", ("0.05", "0.1", "0.25"), ("80.96", "85.07", "88.23"), ("81.29", "85.37", "88.89")),
        ("ferplus", "8", ("0.05", "0.1", "0.25"), ("81.77", "83.95", "85.82"), ("81.94", "83.90", "85.81")),
        ("affectnet", "7", ("0.01", "0.05", "0.1"), ("59.08", "64.02", "65.37"), ("59.83", "64.06", "65.34")),
        ("affectnet", "8", ("0.01", "0.05", "0.1"), ("53.85", "60.17", "61.65"), ("53.93", "60.15", "61.70")),
    ],
)
def test_numbers_of_ssfer(dataset, classes, ratios, readme, notebook):
    for source, percent in (("README", readme), ("released checkpoints", notebook)):
        expected = {f"ratio-{ratio}": value for ratio, value in zip(ratios, percent, strict=True)}
        assert printed("ssfer.toml", dataset, classes, "fr-pretrain-mixup", source) == expected


def test_number_of_ada_cm():
    assert printed("ada-cm.toml", "raf-db", "7", "ada-cm@released") == {"count-4000-adacm": "84.42"}
