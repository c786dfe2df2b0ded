"""`--config FILE.toml` reads the options of a command from a file; the environment and the command line override it."""

import json
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import click

from ferbench.errors import UsageError, recipe_hint, suggestion


def _read_config(ctx: click.Context, parameter: click.Parameter, path: Path | None) -> Path | None:
    """Make the tables `[run]` and `[executor]` the defaults; the environment and the command line override them."""
    if path is None:
        return None
    options = {option.opts[0].removeprefix("--"): option for option in ctx.command.params if option is not parameter}
    table = _config_table(path, options)
    defaults: dict[str, Any] = {}
    for key, value in table.items():
        if key not in options:
            raise UsageError(
                f"--config {path}: unknown key '{key}' (the keys are {', '.join(options)}){_meant(key, options)}"
            )
        defaults[str(options[key].name)] = _checked(ctx, path, options[key], value)
    ctx.default_map = {**defaults, **(ctx.default_map or {})}
    return path


def _config_table(path: Path, options: Collection[str]) -> dict[str, Any]:
    """The options in the file; raises UsageError for a file that is not valid, and for unknown tables."""
    try:
        content = tomllib.loads(path.read_text("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        remedy = "write a [run] table with the names of options, in UTF-8"
        raise UsageError(f"--config {path}: not TOML ({error}); {remedy}") from None
    if not content:
        raise UsageError(f"--config {path}: has no options; write them below a line [run]")
    table, of_executor = content.pop("run", {}), content.pop("executor", {})
    if not isinstance(table, dict) or not isinstance(of_executor, dict):
        raise UsageError(f"--config {path}: write [run] and [executor], and below them the names of options")
    if unknown := next(iter(content), None):
        if isinstance(content[unknown], dict):
            remedy = suggestion(unknown, ("run", "executor")) or "; the tables are [run] and [executor]"
            raise UsageError(f"--config {path}: unknown table [{unknown}]{remedy}")
        remedy = "" if unknown in options else _meant(unknown, options)
        raise UsageError(
            f"--config {path}: '{unknown}' is not in a table{remedy}; put the options below a line [run], and those of "
            "the executor below a line [executor]"
        )
    if of_executor and table.get("executor-option"):
        raise UsageError(f"--config {path}: has executor options both in [executor] and in [run]; keep one of them")
    return {**table, "executor-option": of_executor} if of_executor else table


def _meant(key: str, options: Collection[str]) -> str:
    """The key that the user probably meant; a field of the recipe is given by `set`."""
    hint = recipe_hint(key, "set = {{ {} = ... }}") if "set" in options else ""
    return hint or suggestion(key, options)


def _checked(ctx: click.Context, path: Path, option: click.Parameter, value: Any) -> Any:
    """Convert a value of the file as the command line would; raises UsageError with the file name for a wrong one."""
    found = _as_option(option, value)
    key = option.opts[0].removeprefix("--")
    if value == [] if option.multiple else not isinstance(value, str | int | float):
        number = "at least one value" if option.multiple else "one value"
        raise UsageError(f"--config {path}: {key} = {value!r}: give {number}")
    try:
        option.process_value(ctx, found)
    except (click.UsageError, UsageError) as error:
        reason = error.message if isinstance(error, click.UsageError) else str(error)
        raise UsageError(f"--config {path}: {key} = {value!r}: {reason}") from None
    return found


def _as_option(option: click.Parameter, value: Any) -> Any:
    """A value of the file in the form of the command line."""
    if isinstance(value, dict):
        return [f"{key}={json.dumps(item, default=str)}" for key, item in value.items()]
    if not option.multiple:
        return value
    values = value if isinstance(value, list) else [value]
    return [str(item).lower() if isinstance(item, bool) else str(item) for item in values]


config_file = click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    is_eager=True,
    callback=_read_config,
    expose_value=False,
    help="TOML file with a [run] table of these options, and [executor] for those of --executor-option.",
)
