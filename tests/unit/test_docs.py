"""Documentation is a contract: what can be implemented or typed is described."""

import inspect
import re
from pathlib import Path

import pytest

from ferbench import hookspecs
from ferbench.discovery.registration import HOOKS
from ferbench.discovery.registry import KINDS
from ferbench.execution.re_evaluation import ABSOLUTE, OTHER_CLASSES, RELATIVE, SEED_VARIABLE
from ferbench.leaderboard.trust import LEVELS
from tests.support import docs_tables

PLUGINS_PAGE = Path(__file__).parents[2] / "docs" / "plugins.md"


def section(heading: str) -> str:
    """The text below a heading of the page about plugins; None of it fails the test that asks."""
    page = PLUGINS_PAGE.read_text(encoding="utf-8")
    match = re.search(rf"^### {re.escape(heading)}\n\n(.+?)(?=\n#|\Z)", page, re.MULTILINE | re.DOTALL)
    assert match, f"docs/plugins.md has no section '### {heading}'"
    return match[1]


@pytest.mark.parametrize("hook", HOOKS)
def test_hook_says_when_it_is_called_and_gives_an_example(hook: str) -> None:
    text = inspect.getdoc(getattr(hookspecs, hook)) or ""
    assert text.startswith("Called ")
    assert "Example: `" in text


@pytest.mark.parametrize("hook", HOOKS)
def test_hook_is_on_the_page_with_its_arguments(hook: str) -> None:
    arguments = ", ".join(inspect.signature(getattr(hookspecs, hook)).parameters)
    assert section(f"{hook}({arguments})").strip()


def test_page_describes_no_hook_that_does_not_exist() -> None:
    headings = re.findall(r"^### (ferbench_\w+)", PLUGINS_PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert headings == list(HOOKS)


def test_every_kind_has_a_hook() -> None:
    assert {f"ferbench_register_{kind}" for kind in KINDS} <= set(HOOKS)


def test_variables_of_the_loader_are_on_the_page() -> None:
    page = PLUGINS_PAGE.read_text(encoding="utf-8")
    assert "FERBENCH_PLUGINS" in page
    assert "FERBENCH_STRICT_PLUGINS" in page


def test_the_page_on_trust_has_the_levels_and_the_numbers_of_the_code() -> None:
    page = (PLUGINS_PAGE.parent / "trust.md").read_text(encoding="utf-8")
    assert tuple(re.findall(r"^\| `([\w() -]+)` \|", page, re.MULTILINE)) == LEVELS
    assert f"within {ABSOLUTE:g} plus 1/{1 / RELATIVE:g} of the recorded value" in page
    assert OTHER_CLASSES == 1 / 1000 and "one image in a thousand" in page
    assert SEED_VARIABLE in page
    for level, sentence in (
        ("consistent", "A forged record reaches `consistent` at most."),
        ("re-evaluated", "A real model that was trained on more labels reaches `re-evaluated` at most."),
        ("reproduced", "Only `reproduced` speaks of labels and recipe"),
    ):
        assert level in LEVELS and sentence in " ".join(page.split())


@pytest.mark.slow
@pytest.mark.parametrize("page", docs_tables.PAGES)
def test_tables_are_those_of_the_code(page: str) -> None:
    text = (docs_tables.ROOT / page).read_text(encoding="utf-8")
    assert text == docs_tables.updated(page, text), "run `python -m tests.support.docs_tables`"
    for name in docs_tables.PAGES[page]:
        assert re.search(rf"<!-- {name} -->\n\| [\w ]+ \|", text)
