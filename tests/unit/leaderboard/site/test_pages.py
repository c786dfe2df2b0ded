"""The pages of an edition: equal bytes, whole links, no other host, strangers' texts, and sizes."""

import itertools
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import PurePosixPath
from posixpath import normpath
from urllib.parse import unquote

import pytest

from ferbench.leaderboard.changes import EditionFile, changes
from ferbench.leaderboard.exports import render_json
from ferbench.leaderboard.reported import read_reported, shipped
from ferbench.leaderboard.site.pages import Pages, RowPage, TablePage, make_pages
from ferbench.leaderboard.site.runs import runs_by_row
from ferbench.leaderboard.tables import Board, make_board
from ferbench.leaderboard.trust import Dispute, Trust, with_trust
from ferbench.records.cell import Budget
from ferbench.records.frame import frame_of
from ferbench.records.history import history_bytes
from tests.unit.leaderboard.test_build import NASTY, cells_of, nasty_board
from tests.unit.records.factory import make_cell, make_history, make_predictions, make_record, make_row, write_record

MEGABYTE = 1_000_000
OWN = re.compile(r"^[\w./%@+~-]*(#[\w-]+)?$")
SCORES = ("accuracy", "balanced_accuracy", "macro_f1")
CURVES = [
    make_row(epoch, evaluation=dict.fromkeys(SCORES, 0.1 * epoch), mask_rate=0.5, pseudo_label_precision=0.2 * epoch)
    for epoch in range(1, 4)
]


class Page(HTMLParser):
    """Tags, attributes and visible text of a page."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.tags, self.addresses, self.attributes, self.words = set(), [], set(), []
        self.ids: list[str] = []
        self.feed(content.decode())

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        for name, value in attrs:
            self.attributes.add(name)
            if name in ("href", "src"):
                self.addresses.append((tag, value))
            if name == "id":
                self.ids.append(value)

    def handle_data(self, data):
        self.words.append(data)


def files_of(cells, published=(), nonstandard=True, changed=()):
    return dict(make_pages(make_board(cells, nonstandard, published), cells, "1.0", changed).files())


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    root = tmp_path_factory.mktemp("records")
    for method, seed in itertools.product(("supervised", "fixmatch", "ada-cm"), range(5)):
        write_record(root, make_cell(method, seed), skill=len(method) / 4)
    write_record(root, make_cell("fixmatch", dataset="raf-db"))
    return root


@pytest.fixture(scope="module")
def cells(records):
    return cells_of(records)


@pytest.fixture(scope="module")
def files(cells):
    return files_of(cells, read_reported(shipped()))


def pages_of(files):
    return {name: Page(content) for name, content in files.items() if name.endswith(".html")}


def test_building_again_gives_the_same_bytes_in_any_order(cells, files):
    again = files_of(cells.sample(frac=1, random_state=1), read_reported(shipped()))
    assert again == files


def test_every_link_of_a_page_leads_to_a_file(files):
    for name, page in pages_of(files).items():
        for tag, address in page.addresses:
            if address.startswith(("data:", "https:")):
                continue
            assert OWN.match(address), (name, address)
            path, _, anchor = address.partition("#")
            target = normpath(str(PurePosixPath(name).parent / unquote(path))) if path else name
            assert target == "../index.html" or target in files, (name, tag, address)
            assert not anchor or anchor in pages_of(files)[target].ids


def test_no_page_asks_another_host(files):
    for name, page in pages_of(files).items():
        away = [(tag, address) for tag, address in page.addresses if re.match(r"(?i)[a-z]+:|//", address)]
        assert {tag for tag, address in away} <= {"link", "a"}
        assert {address for tag, address in away if tag == "link"} == {"data:,"}
        assert name == "published.html" or not any(tag == "a" for tag, _ in away)
    for name in ("static/board.css", "static/board.js"):
        assert not re.search(rb"https?:|url\(|@import|fetch\(|import\(", files[name])


def test_a_dispute_stands_beside_its_row(cells):
    dispute = Dispute(
        place="ratio-v1", reason="<b>A test image</b> was labeled", link="https://example.org/issues/1?a=b&c=d"
    )
    trusted = with_trust(cells[cells["seed"] == 0], Trust(disputes=[dispute]))
    rows = {name: Page(data) for name, data in files_of(trusted).items() if re.fullmatch(r"rows/.*\.html", name)}
    for page in rows.values():
        assert ("a", dispute.link) in page.addresses
        assert dispute.reason in " ".join(page.words) and "b" not in page.tags


def test_each_row_leads_to_records_commands_and_hashes(files, cells):
    (name,) = (name for name in files if name.startswith("rows/") and "/fixmatch" in name and "synthfaces" in name)
    page = Page(files[name])
    text = " ".join(page.words)
    for cell in cells[(cells["row"] == "fixmatch") & (cells["dataset"] == "synthfaces")].itertuples():
        assert f"records/{cell.folder}/record.json" in files
        assert f"records/{cell.folder}/history.json" in files
        assert f"ferbench reproduce records/{cell.folder}/record.json --run" in text
        assert cell.predictions_digest in text and cell.model_digest in text
    assert "--method fixmatch" in text and "--seed 0,1,2,3,4" in text
    assert not any(name.endswith("predictions.parquet") for name in files)  # they hold labels of test images


def test_commands_with_initial_weights_name_a_file_and_the_page_shows_its_hash(tmp_path):
    start = f"sha256:{'1' * 64}"
    for seed in range(2):
        write_record(tmp_path, make_cell(seed=seed, init=start))
    (page,) = (Page(data) for name, data in files_of(cells_of(tmp_path)).items() if name.startswith("rows/"))
    text = " ".join(page.words)
    assert f"--init {start}" not in text and start in text
    assert text.count("--init WEIGHTS-FILE") == 1 + 1 + 2  # all seeds, the first one, and each of the list of cells


def written(root, record, history):
    """The path of a record with these rows beside it."""
    folder = root / record.cell.folder()
    folder.mkdir(parents=True)
    (folder / "record.json").write_bytes(record.to_json())
    (folder / "history.json").write_bytes(history_bytes(history))
    return folder / "record.json"


def table_page(frame):
    (page,) = (data for name, data in files_of(frame).items() if re.fullmatch(r"tables/.*\.html", name))
    return page.decode()


def test_figures_stand_where_there_is_something_to_draw(tmp_path):
    skills = {"supervised": 1, "fixmatch": 3, "leaf": 2}
    made = [
        make_record(make_cell(method, seed), make_predictions(skill, seed), CURVES)
        for method, skill in skills.items()
        for seed in range(5)
    ]
    paths = [written(tmp_path, record, CURVES) for record in made]
    page = table_page(frame_of(made, paths))
    assert re.findall(r"<figcaption><strong>(.*?)</strong>", page) == [
        *("Gain against image passes", "Gain against minutes", "Scores by seed", "Learning curves: accuracy, %"),
        *("Precision of pseudo-labels, %", "Mean ranks"),
    ]
    assert len(re.findall(r"</svg> leaf</li>", page)) == 2
    # a history that is not the one that the record names is not drawn
    (paths[-1].parent / "history.json").write_bytes(history_bytes(CURVES[:2]))
    assert len(re.findall(r"</svg> leaf</li>", table_page(frame_of(made, paths)))) == 0


def test_strings_of_strangers_are_texts():
    board = nasty_board()
    cells = frame_of([nasty_record()])
    files = dict(make_pages(board, cells, "1.0", ()).files())
    for page in pages_of(files).values():
        assert not page.tags & {"img", "iframe", "object", "form", "base", "style", "foreignobject"}
        assert not any(name.startswith("on") or name == "style" for name in page.attributes)
        assert all(OWN.match(address) or address == "data:," for _, address in page.addresses)
        assert not re.search(r"[\x00-\x08\x0b-\x1f\u202a-\u202e]", "".join(page.words))
    shown = " ".join(" ".join(page.words) for page in pages_of(files).values())
    assert " ".join(NASTY.split()) in shown


def nasty_record():
    predictions, history = make_predictions(), make_history()
    overrides = {"protocol": {"schedule": NASTY}, "method": {"mode": NASTY}}
    made = make_record(make_cell(overrides=overrides), predictions, history)
    names = [*made.result.class_names[:-1], NASTY]
    recalls = dict(zip(names, made.result.metrics.per_class_recall.values(), strict=True))
    metrics = made.result.metrics.model_copy(update={"per_class_recall": recalls})
    return made.model_copy(update={"result": made.result.model_copy(update={"class_names": names, "metrics": metrics})})


def gaps_of(*cells):
    """What the overview lists below `What is missing`."""
    frame = frame_of([make_record(cell, make_predictions(seed=cell.seed), make_history()) for cell in cells])
    text = re.sub(r"\s+", " ", " ".join(Page(files_of(frame)["index.html"]).words))
    return text.partition("Missing mandatory rows, methods")[2].partition("What the columns mean")[0]


def test_what_is_missing_is_listed():
    vit = make_cell("fixmatch", backbone="small-vit")
    text = gaps_of(make_cell("supervised"), make_cell("fixmatch"), make_cell("fixmatch", 1), make_cell("leaf"), vit)
    resnet, _, vit = text.partition("small-vit")
    assert "missing mandatory rows: supervised (strong views), full supervision" in resnet
    assert "no row of" not in resnet
    assert "incomplete: leaf (1 of 2 seeds), supervised (weak views) (1 of 2 seeds)" in resnet
    assert "no row of leaf" in vit and "incomplete" not in vit
    other = gaps_of(make_cell("fixmatch"), make_cell("leaf", dataset="raf-db"))
    assert "no row of" not in other  # of another dataset


def test_published_numbers_stand_apart(files):
    assert "Roy and Etemad" in files["published.html"].decode()
    assert "Roy and Etemad" not in files["index.html"].decode()
    assert files["leaderboard.bib"].decode().count("@misc{") == 1 + files["leaderboard.bib"].decode().count(
        "published-"
    )


def test_a_block_of_published_numbers_is_in_one_piece():
    """Two blocks of one table and dataset, each with a value of a measured row and one of a method that is not here."""
    frame = frame_of([make_record(make_cell(), make_predictions(), make_history())])
    one = next(value for value in read_reported(shipped()) if value.method)
    values = []
    for note in ("first block", "second block"):
        block = replace(one.block, dataset="synthfaces", classes="7", test_images=None, note=note)
        for method in ("fixmatch", None):
            values.append(replace(one, block=block, method=method, title=str(method), budget=Budget(ratio="0.05")))
    page = files_of(frame, values)["published.html"].decode()
    assert [page.count(f"Note: {note}") for note in ("first block", "second block")] == [1, 1]


def test_changes_are_shown_where_an_edition_is_named(cells):
    cells = cells[cells["seed"] == 0]
    board = make_board(cells)
    edition = EditionFile.model_validate_json(render_json(board))
    fewer = EditionFile.model_validate_json(render_json(make_board(cells[cells["row"] != "fixmatch"])))
    changed = dict(make_pages(board, cells, "1.0", list(changes(fewer, edition))).files())
    assert "fixmatch" in changed["changes.html"].decode()
    assert "There are none:" in files_of(cells, changed=())["changes.html"].decode()
    assert "changes.html" not in files_of(cells, changed=None)


def test_a_board_without_records_has_a_page():
    assert "ferbench run" in files_of(frame_of([]))["index.html"].decode()


def test_the_pages_of_a_thousand_rows_stay_under_a_megabyte():
    """A quarter of both: what a row takes does not depend on how many there are."""
    cells = frame_of([make_record(make_cell(), make_predictions(), make_history())])
    (table,) = make_board(cells).tables
    (row,) = table.rows
    rows = tuple(replace(row, name=f"method-{number:03}", title=f"method {number:03}") for number in range(250))
    large = replace(table, rows=rows)
    (runs,) = runs_by_row(cells).values()
    page = TablePage(
        large, "A large table", tuple(RowPage(row, runs, f"rows/{row.name}") for row in rows), "tables/large"
    )
    pages = Pages(Board((large,), (), 250), (page,), "1.0", None).files()
    sizes = {name: len(data) for name, data in itertools.takewhile(lambda file: "rows/" not in file[0], pages)}
    assert sum(size for name, size in sizes.items() if name.startswith("static/")) < 50_000
    assert {name for name in sizes if name.endswith(".html")} >= {"index.html", "tables/large.html"}
    for name, size in sizes.items():
        assert size < MEGABYTE / 4 or not name.endswith((".html", ".csv")), name  # JSON is for downloads alone
