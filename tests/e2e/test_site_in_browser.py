"""The site in a headless Chromium, from files and without a network: what a visitor does, and axe-core's rules."""

import itertools
import re
from pathlib import Path

import pandas as pd
import pytest

from ferbench.cli.main import main
from ferbench.leaderboard.site.pages import make_pages
from ferbench.leaderboard.tables import make_board
from ferbench.records.frame import frame_of
from tests.support.browser import IN_BROWSER, NARROW, WIDE, axe
from tests.unit.records.factory import make_cell, make_history, make_predictions, make_record

RECORDS = Path(__file__).parents[2] / "leaderboard"

pytestmark = IN_BROWSER


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The committed board."""
    out = tmp_path_factory.mktemp("site")
    words = ["--records", str(RECORDS / "records"), "--board", str(RECORDS), "--out", str(out), "--edition", "1.0"]
    assert main(["leaderboard", "site", *words, "--since", str(RECORDS / "leaderboard.json")]) == 0
    return out


@pytest.fixture
def opened(browser):
    """Opens a page with some settings of the browser; anything that it complains of, or asks another host, fails."""
    contexts, complaints = [], []

    def complain(message):
        if message.type in ("error", "warning"):
            complaints.append(message.text)

    def asked(request):
        if not request.url.startswith(("file:", "data:")):
            complaints.append(request.url)

    def open_page(path, fragment="", **settings):
        context = browser.new_context(viewport=settings.pop("viewport", WIDE), **settings)
        contexts.append(context)
        page = context.new_page()
        page.on("console", complain)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", asked)
        page.goto(path.as_uri() + fragment)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def table_of(site):
    """The page of the table with most rows."""
    return max((site / "1.0" / "tables").glob("*.html"), key=lambda path: path.stat().st_size)


def kinds_of_pages(site):
    row = next((site / "1.0" / "rows" / table_of(site).stem).glob("fixmatch-*.html"))
    edition = site / "1.0"
    return [
        site / "index.html",
        *(edition / f"{name}.html" for name in ("index", "published", "changes")),
        table_of(site),
        row,
    ]


def column(page, grid, key):
    """The texts of a column in the rows that are shown."""
    keys = page.locator(f"[data-grid={grid}] thead th").evaluate_all("heads => heads.map((head) => head.dataset.key)")
    cells = f"[data-grid={grid}] tbody tr:not([hidden]) > :nth-child({keys.index(key) + 1})"
    return page.locator(cells).all_inner_texts()


def test_rows_are_sorted_both_ways_and_back(site, opened):
    page = opened(table_of(site))
    board = column(page, "rows", "title")
    button = page.locator("[data-grid=rows] th[data-key=ece] button")
    button.click()
    values = [float(text.split()[0]) for text in column(page, "rows", "ece")]
    assert values == sorted(values, reverse=True)
    assert page.locator("[data-grid=rows] th[data-key=ece]").get_attribute("aria-sort") == "descending"
    button.press("Enter")
    assert [float(text.split()[0]) for text in column(page, "rows", "ece")] == sorted(values)
    page.get_by_role("button", name="Reset").first.click()
    assert column(page, "rows", "title") == board
    page.get_by_role("button", name="Sort by Image passes").click()
    passes = [int(re.sub(r"\D", "", text)) for text in column(page, "rows", "image_passes")]
    assert passes == sorted(passes, reverse=True)


def test_tables_are_filtered_and_searched(site, opened):
    page = opened(site / "1.0" / "index.html")
    page.get_by_role("combobox", name="Protocol").select_option("ratio-v1")
    assert len(column(page, "tables", "table")) == 3
    assert page.locator("[data-grid=tables] [role=status]").inner_text() == "3 of 6 rows"
    page.locator("[data-grid=tables] input[type=search]").fill("VIT ratio")
    assert len(column(page, "tables", "table")) == 1
    page.locator("[data-grid=methods] input[type=search]").fill("leaf")
    assert column(page, "methods", "title") == ["leaf"]
    page.locator("[data-grid=methods] input[type=search]").fill("no such method")
    assert column(page, "methods", "title") == []


def test_the_address_gives_the_same_view_to_somebody_else(site, opened):
    page = opened(table_of(site))
    page.locator("[data-grid=rows] input[type=search]").fill("supervised")
    page.get_by_role("button", name="Sort by ECE").click()
    page.locator("[data-grid=rows] summary").click()
    page.locator("[data-grid=rows]").get_by_label("Kappa", exact=True).uncheck()
    seen = column(page, "rows", "title")
    assert len(seen) == 2
    address = page.url
    other = opened(table_of(site), "#" + address.partition("#")[2])
    assert column(other, "rows", "title") == seen
    assert other.locator("[data-grid=rows] input[type=search]").input_value() == "supervised"
    assert not other.locator("[data-grid=rows] th[data-key=kappa]").is_visible()
    assert other.locator("[data-grid=rows] th[data-key=ece]").get_attribute("aria-sort") == "descending"
    anchored = opened(table_of(site), "#recall")
    assert len(column(anchored, "rows", "title")) == 5


def test_a_row_leads_to_its_record(site, opened):
    page = opened(table_of(site))
    page.locator("[data-grid=rows]").get_by_role("link", name="fixmatch").click()
    assert page.locator("h1").inner_text() == "fixmatch"
    assert "ferbench reproduce records/" in page.locator("main").inner_text()
    page.get_by_role("link", name="record.json").first.click()
    assert '"cell_id"' in page.content()


def paper(page):
    return page.evaluate("getComputedStyle(document.body).backgroundColor")


def test_dark_and_light_follow_the_system_and_the_switch(site, opened):
    light, dark = (opened(table_of(site), color_scheme=scheme) for scheme in ("light", "dark"))
    white, black = paper(light), paper(dark)
    assert white != black
    switch = dark.locator("#theme")
    switch.click()
    assert (switch.inner_text(), paper(dark)) == ("Theme: light", white)
    dark.reload()
    assert paper(dark) == white
    switch.click()
    assert (switch.inner_text(), paper(dark)) == ("Theme: dark", black)


def test_nothing_is_wider_than_a_narrow_window(site, opened):
    for path in kinds_of_pages(site):
        page = opened(path, viewport=NARROW)
        assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"], path


@pytest.mark.parametrize("settings", [{"color_scheme": "light"}, {"color_scheme": "dark"}, {"viewport": NARROW}])
def test_axe_finds_no_violation(site, opened, settings):
    for path in kinds_of_pages(site):
        page = opened(path, bypass_csp=True, **settings)
        for details in page.locator("details").all():
            details.evaluate("node => { node.open = true; }")
        found = axe.Axe().run(page, options={"preload": False})
        assert found.violations_count == 0, f"{path}\n{found.generate_report()}"


def test_the_keyboard_reaches_table_and_controls(site, opened):
    page = opened(table_of(site))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.locator("[data-grid=rows] summary").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.type") == "checkbox"
    box = page.locator("[data-grid=rows] fieldset").get_by_label("Seeds", exact=True)
    box.focus()
    page.keyboard.press("Space")
    assert not page.locator("[data-grid=rows] th[data-key=seeds]").is_visible()
    page.keyboard.press("Escape")
    assert not box.is_visible()


def test_a_thousand_rows_are_painted_within_a_second(tmp_path, opened):
    one = frame_of([make_record(make_cell(), make_predictions(), make_history())])
    names = [f"method-{number:04}" for number in range(1000)]
    many = pd.concat([one] * 1000, ignore_index=True).assign(row=names, title=names, folder=names)
    files = make_pages(make_board(many), many, "1.0", None).files()
    for name, content in itertools.takewhile(lambda file: not file[0].startswith("rows/"), files):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    (table,) = (tmp_path / "tables").glob("*.html")
    page = opened(table)
    page.wait_for_function("performance.getEntriesByName('first-contentful-paint').length")
    assert page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime") < 1000
    page.locator("[data-grid=rows] input[type=search]").fill("method-07")
    assert page.locator("[data-grid=rows] [role=status]").inner_text() == "100 of 1000 rows"
