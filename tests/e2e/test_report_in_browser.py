"""The report and the page of predictions in a headless Chromium: nothing is cut off, nothing is loaded, axe agrees."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import succeed
from tests.support.tiny_run import tiny_run
from tests.unit.reporting.samples import write_run

sync_api = pytest.importorskip("playwright.sync_api", reason="pip install -e '.[browser]'")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="pip install -e '.[browser]'")

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
CUT_OFF = """() => [...document.querySelectorAll("td, th, svg, img, figure")]
    .filter(part => part.getClientRects().length && part.getBoundingClientRect().right > innerWidth + 1)
    .map(part => part.outerHTML.slice(0, 80))"""
SMALLEST = """() => Math.min(...[...document.querySelectorAll("svg text")]
    .filter(text => text.getClientRects().length).map(text => text.getBoundingClientRect().height))"""

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.process,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on the path"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def pages(patterns: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A report of seven classes, one with faces and embedding, and a page of predictions."""
    folder = tmp_path_factory.mktemp("pages")
    succeed("report", str(write_run(folder / "seven")), "--out", str(folder / "seven.html"))
    record = tiny_run(patterns, folder / "runs")
    extra = ("--embedding", "--dataset", str(patterns))
    succeed("report", str(record), *extra, "--out", str(folder / "faces.html"))
    from PIL import Image

    Image.effect_noise((40, 40), 60).save(folder / "a picture.png")
    succeed("predict", str(record), str(folder / "a picture.png"), "--out", str(folder / "predictions.html"))
    return {name: folder / f"{name}.html" for name in ("seven", "faces", "predictions")}


@pytest.mark.parametrize("name", ["seven", "faces", "predictions"])
@pytest.mark.parametrize(("width", "scheme"), [(1100, "light"), (1100, "dark"), (420, "light")])
def test_pages_are_whole(browser: Any, pages: dict[str, Path], name: str, width: int, scheme: str) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page, complaints = context.new_page(), []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("request", lambda asked: asked.url.startswith(("file:", "data:")) or complaints.append(asked.url))
    page.goto(pages[name].as_uri())
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate(CUT_OFF) == []
    if name != "predictions":
        assert page.evaluate(SMALLEST) >= 9
    violations = axe.Axe().run(page).response["violations"]
    assert [(each["id"], [node["html"][:120] for node in each["nodes"][:2]]) for each in violations] == []
    context.close()
    assert complaints == []
