"""The site of the documentation: no warning, no broken link, no other host, and a notebook that runs."""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from mkdocs.commands.build import build
from mkdocs.config import load_config
from nbclient import NotebookClient

from tests.support.docs_blocks import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.process]

NOTEBOOK = ROOT / "docs" / "tutorials" / "notebook.ipynb"
FETCHED = {"link": "href", "script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src"}


class Links(HTMLParser):
    """What a page links to, what it fetches, and the anchors that it has."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.fetched: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        if tag == "a" and given.get("href"):
            self.links.add(str(given["href"]))
        if tag in FETCHED and given.get(FETCHED[tag]):
            self.fetched.add(str(given[FETCHED[tag]]))
        if given.get("id"):
            self.anchors.add(str(given["id"]))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built in strict mode: a warning is an error."""
    out = tmp_path_factory.mktemp("docs") / "site"
    build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(out), strict=True))
    return out


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Links]:
    return {path: Links(path.read_text("utf-8")) for path in site.rglob("*.html") if path.name != "404.html"}


def test_every_page_is_there(pages: dict[Path, Links], site: Path) -> None:
    names = {path.parent.relative_to(site).as_posix() for path in pages}
    assert {".", "concepts", "tutorials/notebook", "reference/commands", "plugins/ferbench-leaf"} <= names
    assert {path.stem for path in (ROOT / "docs").glob("*.md") if path.stem != "index"} <= names


def test_every_link_within_the_site_holds(pages: dict[Path, Links]) -> None:
    broken = []
    for path, found in pages.items():
        for link in found.links | found.fetched:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            if not target.exists() or (parts.fragment and unquote(parts.fragment) not in pages[target].anchors):
                broken.append(f"{path}: {link}")
    assert broken == []


def test_no_page_fetches_anything_from_another_host(pages: dict[Path, Links], site: Path) -> None:
    fetched = {link for found in pages.values() for link in found.fetched}
    assert len(fetched) > 5
    assert [link for link in fetched if urlsplit(link).netloc] == []
    assert re.findall(r"url\(['\"]?https?:[^)]*\)|@import", (site / "style.css").read_text()) == []


def test_the_notebook_runs_and_shows_what_the_committed_one_shows(tmp_path: Path) -> None:
    committed = nbformat.read(NOTEBOOK, as_version=4)
    fresh = nbformat.from_dict(committed)
    for cell in fresh.cells:
        cell.source = cell.source.replace('"steps": 100', '"steps": 20')
    NotebookClient(fresh, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    for cell, again in zip(committed.cells, fresh.cells, strict=True):
        shown, now = ([sorted(output.get("data", {})) for output in each.get("outputs", [])] for each in (cell, again))
        assert any(shown) == any(now), cell.source
        assert not [output for output in again.get("outputs", []) if output.output_type == "error"]
    assert len(list(tmp_path.rglob("record.json"))) == 4
