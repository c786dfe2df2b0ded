"""How commands show JSON, warnings and names: styled on a terminal, plain text elsewhere."""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import click

from ferbench.discovery.registry import LoadedPlugin, PluginProblem, Registry
from ferbench.records.names import DESCRIBED, RowName
from ferbench.render.escape import plain


def shown_row(registry: Registry, row: str) -> str:
    """A row as people read it: a title replaces the variant or the method's name, if there is one."""
    own, mark, digest = row.partition("~")  # the mark of a row that is not standard
    name = RowName.parse(own)
    entry = registry.entries["methods"].get(name.method)
    if entry is None:
        return row
    if title := entry.titles.get(name.variant or DESCRIBED):
        shown = replace(name, method=title, variant=None)
    else:
        shown = replace(name, method=entry.title or name.method)
    return f"{shown}{mark}{digest}"


def print_json(value: Any) -> None:
    """Print `value` as JSON for other programs."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def warn_problems(problems: Iterable[PluginProblem]) -> None:
    """Print one line on stderr for each problem of a plugin."""
    for problem in problems:
        print_warning(str(problem))


def slowness(plugin: LoadedPlugin) -> str:
    """How long a plugin delays every command."""
    return f"plugin '{plugin.name}' of {plugin.distribution} {plugin.version}: took {plugin.seconds:.1f} s to import"


def slow_remedy(plugin: LoadedPlugin) -> str:
    """What to do about a slow plugin."""
    return (
        f"ask the authors of {plugin.distribution} to import in the modules that its targets name, or choose plugins "
        "with FERBENCH_PLUGINS"
    )


def warn_left_out(problems: Mapping[str, str]) -> None:
    """Print one line on stderr for each record that cannot be used."""
    for path, reason in problems.items():
        print_warning(plain(f"{path}: {reason}; left out", 2000))


def print_warning(text: str) -> None:
    """Print one line on stderr."""
    prefix = click.style("warning:", fg="yellow", bold=True)
    click.echo(f"{prefix} {text}", err=True, color=use_color())


def use_color() -> bool | None:
    """The value of click's `color`: no colour with NO_COLOR, else the stream decides."""
    return False if os.environ.get("NO_COLOR") else None
