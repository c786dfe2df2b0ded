"""Every code block of the documentation is what it says: commands parse, files load, Python runs here or elsewhere."""

import ast
import json
import re
import shlex
import tomllib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import click
import pytest

from ferbench.cli.main import app
from ferbench.cli.session import Session
from ferbench.discovery.registry import Registry
from ferbench.errors import FerbenchError
from ferbench.records.names import RowName
from tests.support.docs_blocks import ALL, PAGES, ROOT, Block

SHELL = [block for block in ALL if block.language == "sh"]
LANGUAGES = {"sh", "python", "toml", "json", "text", "layers"}
ELSEWHERE = {
    "docs/augment.md": "tests/unit/test_augment.py",
    "docs/abaw.md": "tests/e2e/test_abaw.py",
    "docs/datasets.md": "tests/unit/test_docs_datasets.py",
    "docs/models.md": "tests/e2e/test_docs_python.py",
    "docs/plugins.md": "tests/e2e/test_docs_python.py",
    "docs/pools.md": "tests/unit/readers/test_streams.py",
    "docs/protocols.md": "tests/unit/execution/test_label_terms.py",
    "docs/results.md": "tests/e2e/test_docs_python.py",
    "docs/tutorials/method.md": "tests/e2e/test_tutorials.py",
    "docs/tutorials/phone.md": "tests/e2e/test_tutorials.py",
    "plugins/ferbench-fr-pretrain-mixup/README.md": "tests/e2e/test_docs_python.py",
    "plugins/ferbench-leaf/README.md": "tests/e2e/test_docs_python.py",
    "plugins/ferbench-synthfaces/README.md": "tests/e2e/test_docs_python.py",
}
"""Pages with blocks of Python, and the test that runs them."""
OWN = {"my-faces", "mine", "soft-labels", "ms1mv2", "big-faces", "abaw-joined-v1", "noisy-ratio-v1", "queue"}
"""Names that a reader gives."""
NAMED = {"methods": "methods", "datasets": "datasets", "test_on": "datasets", "protocol": "protocols"}
NAMED |= {"backbones": "backbones", "executor": "executors"}
"""Options of `ferbench run` that name what a plugin registers."""
SHELL_WORDS = {
    "cat",
    "cd",
    "eval",
    "export",
    "git",
    "mkdir",
    "podman",
    "pytest",
    "python",
    "ray",
    "scancel",
    "tensorboard",
}


@cache
def session() -> Session:
    return Session(verbose=False)


def follow(words: Sequence[str]) -> dict[str, Any]:
    """The options of a command as click reads them; a name that does not exist raises."""
    partly = "..." in words or "--config" in words
    words = [word for word in words[1:] if word != "..."]
    command: click.Command = app
    context = click.Context(app, info_name="ferbench", obj=session(), **app.context_settings)
    while isinstance(command, click.Group):
        name, _, words = command.resolve_command(context, list(words))
        found = command.get_command(context, str(name))
        assert found is not None
        command, context = found, click.Context(found, parent=context, info_name=name, **found.context_settings)
    return read(command, context, list(words), partly)


def read(command: click.Command, context: click.Context, words: list[str], partly: bool) -> dict[str, Any]:
    given, left, _ = command.make_parser(context).parse_args(words)
    assert not left, f"unexpected {left}"
    for parameter in command.params:
        value = given.get(str(parameter.name))
        if not isinstance(value, str | bool | list | tuple):  # click has a mark of its own for what was not given
            assert partly or not parameter.required, f"needs {parameter.opts[0]}"
        elif not isinstance(parameter.type, click.Path | click.File):
            value = parameter.type_cast_value(context, value)
            if parameter.callback is not None and parameter.expose_value:
                value = parameter.callback(context, parameter, value)
            given[str(parameter.name)] = value
    return given


def unknown_names(options: dict[str, Any], registry: Registry) -> list[str]:
    """What a run names and nothing registers, but for what a reader gives."""
    wrong = []
    for option, kind in NAMED.items():
        value = options.get(option) or []
        for text in [value] if isinstance(value, str) else value:
            name = RowName.parse(text).method if option == "methods" else text.partition("/")[0].partition("@")[0]
            if name not in registry.entries[kind] and text not in OWN and not text.startswith((".", "big-")):
                wrong.append(f"{option} {text}")
    return wrong


def test_there_are_blocks_of_all_kinds() -> None:
    assert {block.language for block in ALL} == LANGUAGES
    assert len(SHELL) > 50
    assert {"README.md", "docs/index.md", "docs/tutorials/dataset.md"} <= {block.page for block in SHELL}


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_every_command_exists_with_its_options(block: Block, registry: Registry) -> None:
    for words in block.commands():
        match words[0]:
            case "ferbench":
                options = follow(words)
                assert unknown_names(options, registry) == []
            case "pip":
                check_installs(words[2:])
            case "make":
                targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
                assert {word for word in words[1:] if "=" not in word} <= set(targets)
            case word:
                assert word in SHELL_WORDS, f"{block}: nobody checks {word}"


def check_installs(words: Sequence[str]) -> None:
    """Folders of this repository and extras that are there, or the reader's own package."""
    for word in words:
        if word in ("-e", "."):
            continue
        name, _, extras = word.rstrip("]").partition("[")
        folder = ROOT if name in (".", "ferbench") else ROOT / name
        if name == "ferbench-soft-labels" or not (folder.exists() or name.startswith("ferbench")):
            continue  # the reader's own, or of others
        project = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"]
        assert not extras or extras in project["optional-dependencies"]


@pytest.mark.parametrize("page", [page for page in PAGES if page != "CHANGELOG.md"])
def test_every_command_in_a_sentence_exists(page: str) -> None:
    text = re.sub(r"^ *```.*?^ *```$", "", (ROOT / page).read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    for line in re.findall(r"`(ferbench [a-z][^`]*)`", text):
        # `[--faces]` may be omitted, and of `onnx|card` one is typed
        words = re.sub(r"([\w-]+)(\\?\|[\w-]+)+", r"\1", re.sub(r"[\[\]]", "", line)).split()
        try:
            follow([*words, "..."])
        except (click.ClickException, FerbenchError, AssertionError) as error:
            pytest.fail(f"{page}: `{line}`: {error}")


@pytest.mark.parametrize("block", [block for block in ALL if block.language == "toml"], ids=str)
def test_toml_is_read_and_has_options_that_exist(block: Block, registry: Registry, tmp_path: Path) -> None:
    table = tomllib.loads(block.text)
    executor = table.get("run", {}).get("executor") or Path(block.page).parent.name.removeprefix("ferbench-")
    if "run" in table:
        path = tmp_path / "run.toml"
        path.write_text(block.text)
        run = registry.load("commands", "run")
        context = run.make_context("run", ["--config", str(path)], obj=session())
        assert unknown_names(context.params, registry) == []
    if "executor" in table:
        registry.load("executors", executor).Options.model_validate(table["executor"])
    assert table


@pytest.mark.parametrize("block", [block for block in ALL if block.language == "json"], ids=str)
def test_json_is_read(block: Block) -> None:
    assert json.loads(block.text)


@pytest.mark.parametrize("block", [block for block in ALL if block.language == "python"], ids=str)
def test_python_parses_and_a_test_runs_it(block: Block) -> None:
    assert ast.parse(block.text).body
    test = (ROOT / ELSEWHERE[block.page]).read_text("utf-8")
    assert Path(block.page).name in test or Path(block.page).parent.name in test


def test_what_is_wrong_is_found() -> None:
    for line in (
        "ferbench run --method fixmatch --rati 0.05",
        "ferbench runs --method fixmatch",
        "ferbench run --method fixmatch --seed four",
        "ferbench run --ratio 0.05",
        "ferbench prepare raf-db",
        "ferbench leaderboard buidl",
    ):
        with pytest.raises((click.ClickException, FerbenchError, AssertionError)):
            follow(shlex.split(line))
    assert follow(shlex.split("ferbench run ... --executor slurm"))["executor"] == "slurm"


def test_a_name_that_nobody_registers_is_found(registry: Registry) -> None:
    assert unknown_names(follow(shlex.split("ferbench run --method fixmatsch --dataset raf-db")), registry) == [
        "methods fixmatsch"
    ]
