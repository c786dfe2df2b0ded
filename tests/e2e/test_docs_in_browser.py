"""The documentation in a headless Chromium, light, dark and narrow: no complaint, no other host, axe-core's rules."""

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from mkdocs.commands.build import build
from mkdocs.config import load_config

from tests.support.browser import IN_BROWSER, NARROW, WIDE, axe
from tests.support.docs_blocks import ROOT

SEEN = ("", "concepts/", "comparison/", "tutorials/notebook/", "plugins/", "reference/hooks/")
"""A page of each kind, by address."""

pytestmark = IN_BROWSER


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the site is served: its search asks for a server."""
    out: Path = tmp_path_factory.mktemp("docs") / "site"
    build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(out), strict=True))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(out)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


@pytest.mark.parametrize(
    "settings",
    [{"color_scheme": "light", "viewport": WIDE}, {"color_scheme": "dark", "viewport": WIDE}, {"viewport": NARROW}],
    ids=["light", "dark", "narrow"],
)
def test_pages_can_be_read_by_everybody(address, browser, settings):
    context, complaints = browser.new_context(**settings), []
    page = context.new_page()
    page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    own = (address, "data:", "blob:")
    page.on("request", lambda asked: None if asked.url.startswith(own) else complaints.append(asked.url))
    for path in SEEN:
        page.goto(address + path)
        page.locator("[aria-label='Search'].md-search").wait_for(state="attached")
        assert page.evaluate("document.documentElement.scrollWidth") <= settings["viewport"]["width"], path
        found = axe.Axe().run(page, options={"preload": False})
        assert found.violations_count == 0, f"{path}\n{found.generate_report()}"
    context.close()
    assert complaints == []


def test_the_search_finds_a_page_of_the_reference(address, browser):
    page = browser.new_page(viewport=WIDE)
    page.goto(address)
    page.locator("input.md-search__input").fill("FERBENCH_CACHE")
    hits = page.locator(".md-search-result__item a")
    hits.first.wait_for()
    found = hits.evaluate_all("links => links.map((link) => new URL(link.href).pathname)")
    assert "/reference/variables/" in found
