"""Render self-contained HTML pages: templates, colours, and the escaping of untrusted text."""

import json
import unicodedata
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined

from ferbench.render.escape import plain
from ferbench.render.numbers import NONE, grouped, percent, probability
from ferbench.render.palette import DARK, LIGHT, series_name
from ferbench.version import __version__

LONG = 400
MAX_BLOCK = 20_000


def templates(room: str, *, autoescape: bool) -> Environment:
    """The templates in a package (`room`)."""
    return Environment(
        loader=FunctionLoader(lambda name: files(room).joinpath(name).read_text("utf-8")),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def page_templates(room: str) -> Environment:
    """The page templates in a package, with the filters and values that all pages share; all content is escaped."""
    environment = templates(room, autoescape=True)
    environment.filters.update(percent=percent, probability=probability, grouped=grouped, typed=typed, block=_block)
    environment.filters["line"] = lambda text: plain(str(text), LONG)
    environment.globals.update(light=LIGHT, dark=DARK, series_name=series_name, none=NONE, version=__version__)
    return environment


def render(room: str, template: str, **content: object) -> bytes:
    """Render a page from a template of a package, as UTF-8; all content is escaped."""
    return page_templates(room).get_template(template).render(**content).encode("utf-8", "replace")


def typed(value: Any) -> str:
    """A JSON value as one types it after `--set`; a dash for None."""
    if value is None:
        return NONE
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _block(text: str) -> str:
    """Text of several lines, only its end if it is too long; invisible characters become spaces."""
    kept = text if len(text) <= MAX_BLOCK else f"…\n{text[-MAX_BLOCK:]}"
    return "".join(char if char == "\n" or unicodedata.category(char)[0] != "C" else " " for char in kept)
