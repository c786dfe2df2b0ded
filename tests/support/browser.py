"""A headless Chromium for tests of pages; whoever imports this is skipped where there is none."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="pip install -e '.[browser]'")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="pip install -e '.[browser]'")

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NARROW = {"width": 420, "height": 800}
WIDE = {"width": 1280, "height": 900}
IN_BROWSER = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.process,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on the path"),
]


@contextmanager
def chromium() -> Iterator[Any]:
    """The browser, until the end of the block."""
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()
