"""The reference, from the code: every hook, verb, option, variable, field, exit code and public name."""

import ast
import inspect
import re
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import click
from pydantic import BaseModel

import ferbench
from docs.tools.members import documentation, fields_of, member_section, members, models_in, modules, summary
from docs.tools.shown import Entry, Page, Section, prose
from ferbench import blocks, contract, errors, hookspecs, readers
from ferbench.cells.request import RunRequest
from ferbench.cli.main import app
from ferbench.cli.session import Session
from ferbench.contract.events import EpochRow
from ferbench.contract.protocol import Protocol, Recipe
from ferbench.discovery.registration import HOOKS
from ferbench.discovery.registry import Registry
from ferbench.records.schema import Record

SOURCES = [Path(inspect.getfile(ferbench)).parent, *(Path(__file__).parents[2] / "plugins").glob("*/ferbench_*")]
CONFIGURATION = """`ferbench run --config FILE.toml` reads these tables.

```toml
[run]
method = ["fixmatch", "supervised@weak"]
ratio = [0.05]
seed = ["0-4"]
set = { steps = 300 }

[executor]
per_device = 1
```

The command line wins over the environment, and the environment over the file."""


def pages() -> dict[str, Page]:
    """Every page by its name below `reference/`."""
    return {
        "commands": commands(),
        "configuration": configuration(),
        "options": options(),
        "variables": variables(),
        "exit-codes": exit_codes(),
        "record": record(),
        "python": python(),
        "hooks": hooks(),
        "contract": toolkit("Contract", "What plugins subclass and fill in: `ferbench.contract`.", contract),
        "blocks": toolkit("Blocks", "Parts that several methods are made of: `ferbench.blocks`.", blocks),
        "readers": toolkit("Readers", "A toolkit to read folders of strangers: `ferbench.readers`.", readers),
    }


def index() -> str:
    """The page that lists the others."""
    lines = [f"- [{page.title}]({name}.md): {page.text.splitlines()[0]}" for name, page in pages().items()]
    text = "These pages are written from the code when the site is built."
    return "\n".join(["# Reference", "", text, "", *lines, ""])


@cache
def session() -> Session:
    """The core's commands and those of the installed plugins."""
    return Session(verbose=False)


def registry() -> Registry:
    """What the core and the installed plugins register."""
    return session().registry


def commands() -> Page:
    """Every verb with its arguments and options."""
    text = "Every command and option. `-h` shows the same on a terminal."
    return Page("Commands", text, [_verb(command, context) for command, context in verbs()])


def verbs() -> Iterator[tuple[click.Command, click.Context]]:
    """Every command that can be called, groups before what is in them."""
    yield from _below(app, click.Context(app, info_name="ferbench", obj=session(), **app.context_settings))


def _below(command: click.Command, context: click.Context) -> Iterator[tuple[click.Command, click.Context]]:
    yield command, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from _below(found, click.Context(found, info_name=name, parent=context, **found.context_settings))


def _verb(command: click.Command, context: click.Context) -> Section:
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    text = f"```text\n{usage}\n```\n\n{prose(inspect.cleandoc(command.help or ''))}"
    shown = [option for option in command.params if isinstance(option, click.Option) and not option.hidden]
    return Section(context.command_path, text, [_option(option, context) for option in shown])


def _option(option: click.Option, context: click.Context) -> Entry:
    names, text = option.get_help_record(context) or ("", "")
    return Entry(f"`{names}`", text if option.help else "")


def configuration() -> Page:
    """The keys of a TOML file, and the keywords of `ferbench.run`."""
    run = next(command for command, context in verbs() if context.command_path == "ferbench run")
    keywords = {*inspect.signature(ferbench.run).parameters, *RunRequest.__dataclass_fields__}
    entries = []
    for option in run.params:
        key = option.opts[0].removeprefix("--")
        keyword = {"set": "overrides", "executor-option": "executor_options"}.get(key, key.replace("-", "_"))
        if isinstance(option, click.Option) and option.expose_value:
            shown = f"`{keyword}`" if keyword in keywords else "–"
            entries.append(Entry(f"`{key}`", option.help or "", (shown, f"`FERBENCH_RUN_{option.name}`".upper())))
    table = Section(
        "`[run]`",
        "The keys are the options of `ferbench run` without their dashes. A list is a TOML list; `set` and "
        "`executor-option` are tables. The same names, with `_`, are keywords of `ferbench.run` in Python.",
        entries,
        ("Python", "variable"),
    )
    executors = [
        Section(
            f"`[executor]` of `{name}`",
            entry.summary,
            list(fields_of(entry.load().Options)),
            ("type", "default"),
        )
        for name, entry in registry().entries["executors"].items()
    ]
    return Page("Configuration", CONFIGURATION, [table, *executors])


def options() -> Page:
    """What `--set` can change: fields of protocols and options of methods and heads."""
    known = registry().entries
    recipe = Section(
        "Recipe",
        "Fields of the protocol's recipe for a family of datasets. With `--set` the result is not standard.",
        list(fields_of(Recipe)),
        ("type", "default"),
    )
    protocol = Section(
        "Protocol",
        "Fields of a protocol that a run cannot change: a plugin registers another protocol.",
        [entry for entry in fields_of(Protocol) if not entry.name.startswith("`recipes.")],
        ("type", "default"),
    )
    configured = [
        Section(f"{kind} `{name}`", entry.summary, list(fields_of(model)), ("type", "default"))
        for kind, attribute in (("Method", "Config"), ("Head", "Options"))
        for name, entry in known[f"{kind.lower()}s"].items()
        if (model := getattr(entry.load(), attribute, None)) is not None and model.model_fields
    ]
    text = "`--set KEY=VALUE` changes an option of a method, or a field of the protocol's recipe."
    return Page("Options of methods and protocols", text, [recipe, protocol, *configured])


def variables() -> Page:
    """Every environment variable: those in the code, and those of click's options."""
    found = documented_variables()
    for command, _ in verbs():
        for option in command.params:
            if isinstance(option, click.Option) and isinstance(option.envvar, str):
                found.setdefault(option.envvar, f"`{option.opts[0]}` of the commands that have it.")
    found["FERBENCH_RUN_OPTION"] = "An option of `ferbench run` by its name in capitals: `FERBENCH_RUN_DEVICE=cuda`."
    entries = [Entry(f"`{name}`", text) for name, text in sorted(found.items())]
    text = "Environment variables that ferbench reads."
    return Page("Environment variables", text, [Section("Variables", "All of them are optional.", entries)])


def documented_variables() -> dict[str, str]:
    """The constants of the code that hold the name of a variable, and the text below them."""
    found = {}
    for path in sorted(path for folder in SOURCES for path in folder.rglob("*.py")):
        body = ast.parse(path.read_text("utf-8")).body
        for node, below in pairwise([*body, None]):
            value = getattr(node, "value", None)
            if not isinstance(node, ast.Assign) or not isinstance(value, ast.Constant):
                continue
            if re.fullmatch(r"FERBENCH_[A-Z_]+", str(value.value)) and not str(value.value).endswith("_"):
                text = below.value if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) else None
                found[str(value.value)] = inspect.cleandoc(str(text.value)) if text else ""
    return found


def exit_codes() -> Page:
    """The exit codes, with the errors that end so."""
    entries = [Entry("`0`", "All cells are done or were done before; what was asked for holds.")]
    entries += [
        Entry(f"`{kind.exit_code}`", summary(kind), (f"`{kind.__name__}`",))
        for kind in sorted(_errors(errors.FerbenchError), key=lambda kind: kind.exit_code)
    ]
    entries[0] = Entry(entries[0].name, entries[0].text, ("–",))
    text = "How a command ends, and the exception of `ferbench.errors` that Python code sees in its place."
    return Page("Exit codes", text, [Section("Codes", "The first that applies.", entries, ("exception",))])


def _errors(kind: type[errors.FerbenchError]) -> list[type[errors.FerbenchError]]:
    further = [below for below in kind.__subclasses__() if below.__module__ == errors.__name__]
    return [kind, *(one for below in further for one in _errors(below))]


def record() -> Page:
    """Every field of `record.json`, and of a row of `history.json`."""
    text = (
        "The fields of `record.json`, and of a row of `history.json`. `ferbench verify --print-schema` prints the JSON "
        "Schema; [Results](../results.md) has the columns of frames and the metrics."
    )
    return Page("Records", text, [_model(model) for model in [*_models(Record), EpochRow]])


def _model(model: type[BaseModel]) -> Section:
    return Section(
        f"`{model.__name__}`", prose(documentation(model)), list(fields_of(model, deep=False)), ("type", "default")
    )


def _models(model: type[BaseModel], seen: tuple[type[BaseModel], ...] = ()) -> tuple[type[BaseModel], ...]:
    """A model and all that are in its fields, each once."""
    if model in seen:
        return seen
    seen = (*seen, model)
    for field in model.model_fields.values():
        for inner in models_in(field.annotation):
            seen = _models(inner, seen)
    return seen


def python() -> Page:
    """What `import ferbench` gives."""
    names = [name for name in ferbench.__all__ if not name.startswith("_")]
    text = "What `import ferbench` gives. The pages of contract, blocks and readers have the rest."
    return Page("Python", text, [member_section(f"ferbench.{name}", getattr(ferbench, name)) for name in names])


def hooks() -> Page:
    """The hooks, as `hookspecs.py` has them."""
    text = "What a plugin may implement. [Writing a plugin](../plugins.md#the-hooks) explains each with its targets."
    return Page("Hooks", text, [member_section(name, getattr(hookspecs, name)) for name in HOOKS])


def toolkit(title: str, text: str, package: ModuleType) -> Page:
    """Every public class and function of a package, module by module."""
    sections = []
    for module in modules(package):
        if found := members(module):
            sections += [Section(f"`{module.__name__}`", prose(documentation(module)))]
            sections += [member_section(name, member, level=3) for name, member in found.items()]
    return Page(title, text, sections)
