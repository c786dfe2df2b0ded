"""Editions on disk."""

import pytest

from ferbench.errors import DataError, UsageError
from ferbench.leaderboard.site.pages import make_pages
from ferbench.leaderboard.site.publish import publish
from ferbench.leaderboard.tables import make_board
from ferbench.records.frame import frame_of
from tests.unit.records.factory import make_cell, make_history, make_predictions, make_record


@pytest.fixture(scope="module")
def files():
    cells = frame_of([make_record(make_cell(), make_predictions(), make_history())])
    return dict(make_pages(make_board(cells), cells, "1.0", None).files())


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_edition_leaves_the_others_as_they_are(files, tmp_path):
    publish(files, tmp_path, "0.9")
    before = tree(tmp_path / "0.9")
    index = publish({**files, "index.html": b"new"}, tmp_path, "0.10")
    assert tree(tmp_path / "0.9") == before
    assert (tmp_path / "0.10" / "index.html").read_bytes() == b"new"
    page = index.read_text()
    assert 0 < page.index('"0.10/index.html"') < page.index('"0.9/index.html"')
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.10", "0.9", "index.html"]


@pytest.mark.parametrize(
    ("older", "newer"), [("0.9", "0.10"), ("0.2.0rc1", "0.2.0"), ("0.2", "0.2.1"), ("2026-08", "2026-11")]
)
def test_the_newest_edition_is_first(files, tmp_path, older, newer):
    for name in (newer, older):
        index = publish(files, tmp_path, name)
    page = index.read_text()
    assert page.index(f'href="{newer}/index.html"') < page.index(f'href="{older}/index.html"')


def test_writing_again_removes_what_is_no_longer_there(files, tmp_path):
    publish({**files, "tables/old.html": b"old"}, tmp_path, "1.0")
    publish(files, tmp_path, "1.0")
    assert tree(tmp_path / "1.0") == files


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "x" * 65, "index.html/"])
def test_an_edition_is_the_name_of_a_folder(files, tmp_path, name):
    with pytest.raises(UsageError, match="--edition"):
        publish(files, tmp_path / "site", name)
    assert not (tmp_path / "site").exists()


def test_a_folder_that_is_no_edition_is_kept(files, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("work")
    with pytest.raises(UsageError, match=r"thesis is not an edition"):
        publish(files, tmp_path, "thesis")
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "work"


def test_a_place_that_cannot_be_written_is_named(files, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot write .*file"):
        publish(files, tmp_path / "file", "1.0")
