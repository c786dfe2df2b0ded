"""The report and the page of predictions in a headless Chromium: nothing is cut off, nothing is loaded, axe agrees."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import IN_BROWSER, axe
from tests.support.command import succeed
from tests.support.tiny_run import tiny_run
from tests.unit.reporting.samples import write_run

CUT_OFF = """() => [...document.querySelectorAll("td, th, svg, img, figure")]
    .filter(part => part.getClientRects().length && part.getBoundingClientRect().right > innerWidth + 1)
    .map(part => part.outerHTML.slice(0, 80))"""
SMALLEST = """() => Math.min(...[...document.querySelectorAll("svg text")]
    .filter(text => text.getClientRects().length).map(text => text.getBoundingClientRect().height))"""

pytestmark = IN_BROWSER


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
