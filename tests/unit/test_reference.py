"""The reference has all that can be typed, read or imported, and says of each what it is."""

import json
import re
from functools import cache
from importlib.resources import files
from pathlib import Path

import click
import pytest

import ferbench
from docs.tools import reference
from docs.tools.members import member_section
from docs.tools.shown import Page
from ferbench.cells.request import RunRequest
from tests.support.command import succeed

pytestmark = pytest.mark.slow

PACKAGE = Path(ferbench.__file__).parent


@cache
def pages() -> dict[str, Page]:
    return reference.pages()


@cache
def text(page: str) -> str:
    return pages()[page].markdown()


def sources() -> str:
    """All code of ferbench and of the plugins here, without their tests."""
    return "\n".join(path.read_text("utf-8") for folder in reference.SOURCES for path in folder.rglob("*.py"))


def test_nothing_is_without_a_description() -> None:
    named = [
        (page, section, entry)
        for page, shown in pages().items()
        for section in shown.sections
        for entry in section.entries
    ]
    assert len(named) > 500
    assert [f"{page}: {section.heading}: {entry.name}" for page, section, entry in named if not entry.text] == []
    assert [f"{page}: {s.heading}" for page, shown in pages().items() for s in shown.sections if not s.text] == []


def test_what_has_no_docstring_is_found() -> None:
    class Bare:
        def told(self) -> None:
            """It is told."""

        def bare(self) -> None: ...

    shown = member_section("Bare", Bare)
    assert shown.text == ""
    assert [(entry.name, entry.text) for entry in shown.entries] == [("`told()`", "It is told."), ("`bare()`", "")]


def test_every_verb_and_every_option_that_help_shows_is_there() -> None:
    listed = re.findall(r"^  ([a-z][a-z-]+)  ", succeed("--help").partition("Commands:")[2], re.MULTILINE)
    assert {"run", "verify", "leaderboard", "synthfaces"} <= set(listed)
    sections = {section.heading: section for section in pages()["commands"].sections}
    for verb in listed:
        shown = succeed(verb, "--help")
        options = set(re.findall(r"^  (?:-\w, )?(--[a-z-]+)", shown, re.MULTILINE)) - {"--help"}
        told = " ".join(entry.name for entry in sections[f"ferbench {verb}"].entries)
        assert {option for option in options if not re.search(rf"{option}\b(?!-)", told)} == set(), verb
        for below in re.findall(r"^  ([a-z][a-z-]+)  ", shown.partition("Commands:")[2], re.MULTILINE):
            assert f"ferbench {verb} {below}" in sections


def test_every_argument_of_a_verb_is_explained_in_its_help() -> None:
    unexplained = [
        f"{context.command_path} {name}"
        for command, context in reference.verbs()
        for parameter in command.params
        if isinstance(parameter, click.Argument)
        and (name := (parameter.metavar or str(parameter.name).upper())) not in (command.help or "")
    ]
    assert unexplained == []


def test_every_variable_of_the_code_is_there() -> None:
    named = set(re.findall(r"\bFERBENCH_[A-Z_]*[A-Z]\b", sources())) - {"FERBENCH_RUN"}
    assert {"FERBENCH_CACHE", "FERBENCH_VERBOSE", "FERBENCH_RUNS"} <= named
    assert sorted(name for name in named if f"| `{name}` |" not in text("variables")) == []


def test_every_key_of_a_run_is_there() -> None:
    keys = set(re.findall(r"^  (?:-\w, )?--([a-z-]+)", succeed("run", "--help"), re.MULTILINE)) - {"config", "help"}
    assert sorted(key for key in keys if f"| `{key}` |" not in text("configuration")) == []
    renamed = {"methods": "method", "datasets": "dataset", "ratios": "ratio", "counts": "labels", "seeds": "seed"}
    fields = {renamed.get(name, name) for name in RunRequest.__dataclass_fields__} - {"backbones"} | {"backbone"}
    assert sorted(name for name in fields if f"| `{name}` |" not in text("configuration")) == []


def test_every_field_of_a_record_is_there() -> None:
    schema = json.loads(files("ferbench.records").joinpath("record.schema.json").read_text("utf-8"))
    models = {"Record": schema, **schema["$defs"]}
    fields = {(name, field) for name, model in models.items() for field in model.get("properties", ())}
    assert ("Result", "confusion") in fields
    sections = {section.heading: " ".join(e.name for e in section.entries) for section in pages()["record"].sections}
    assert sorted(name for name, field in fields if f"`{field}`" not in sections[f"`{name}`"]) == []


def test_every_exit_code_is_there() -> None:
    codes = re.findall(r"exit_code(?:: ClassVar\[int\])? = (\d+)", (PACKAGE / "errors.py").read_text())
    assert {"1", "2", "5", "130"} <= set(codes)
    assert [code for code in ["0", *codes] if f"| `{code}` |" not in text("exit-codes")] == []


@pytest.mark.parametrize("room", ["contract", "blocks", "readers"])
def test_every_public_name_of_a_toolkit_is_there(room: str) -> None:
    for path in (PACKAGE / room).glob("[!_]*.py"):
        for name in re.findall(r"^(?:class|def) ([A-Za-z]\w*)", path.read_text("utf-8"), re.MULTILINE):
            assert f"### `{name}`\n" in text(room).partition(f"## `ferbench.{room}.{path.stem}`\n")[2]


def test_every_hook_and_every_name_of_the_package_is_there() -> None:
    hooks = re.findall(r"^def (ferbench_\w+)", (PACKAGE / "hookspecs.py").read_text("utf-8"), re.MULTILINE)
    assert len(hooks) > 10
    assert [name for name in hooks if f"## `{name}`" not in text("hooks")] == []
    assert [
        name for name in set(ferbench.__all__) - {"__version__"} if f"`ferbench.{name}`" not in text("python")
    ] == []
