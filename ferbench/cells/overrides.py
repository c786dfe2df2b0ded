"""From `--set` to the overrides of a cell: whose option each is, and in one spelling what it changes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, JsonValue

from ferbench.cells.resolve import method_class
from ferbench.contract.protocol import TUNED, Recipe
from ferbench.discovery.registry import Registry
from ferbench.errors import UsageError, suggestion

if TYPE_CHECKING:
    from ferbench.contract.method import MethodConfig

RECIPE_FIELDS = frozenset(Recipe.model_fields) - TUNED - {"backbone"}

Options = dict[str, Any]


def sort_settings(
    registry: Registry, values: Mapping[str, Any], methods: Sequence[str], method: str
) -> tuple[Options, Options]:
    """Which of the settings are fields of the protocol and which options of this method; unknown keys are errors.

    `methods` are all methods of the grid: with several of them an option needs its method's name in front.
    """
    of_protocol: Options = {}
    of_method: Options = {}
    for key, value in _flat(values, methods):
        prefix, _, option = key.partition(".")
        if prefix in methods and option:
            _check_option(registry, key, option, prefix)
            if prefix == method:
                of_method[option] = value
        elif prefix in RECIPE_FIELDS:
            of_protocol[key] = value
        elif len(set(methods)) == 1 and key in method_class(registry, method).Config.model_fields:
            of_method[key] = value
        else:
            raise UsageError(_unknown_key(registry, key, methods))
    return of_protocol, of_method


def recipe_changes(default: Recipe, chosen: Recipe) -> dict[str, JsonValue]:
    """The fields of a recipe that are not the protocol's, with their validated values: equal recipes, equal changes."""
    before, after = dict(_leaves(_fields(default))), dict(_leaves(_fields(chosen)))
    return {key: value for key, value in after.items() if value != before[key]}


def config_changes(
    configured: Callable[[Mapping[str, Any]], "MethodConfig"], given: Mapping[str, Any]
) -> dict[str, JsonValue]:
    """The given options that change something, with their validated values; `configured` makes a config of options."""
    chosen = configured(given)
    before, after = _fields(configured({})), _fields(chosen)
    changes = {key: after[key] for key in given if after[key] != before[key]}
    # One option may decide the default of another; then all that was given must stay.
    return changes if configured(changes) == chosen else {key: after[key] for key in given}


def _fields(model: BaseModel) -> dict[str, JsonValue]:
    return model.model_dump(mode="json", exclude=set(TUNED))


def _flat(values: Mapping[str, Any], methods: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """A table `fixmatch = {threshold = 0.9}` or `weak = {padding = 2}` as dotted keys."""
    for key, value in values.items():
        if isinstance(value, Mapping) and (key in methods or key in RECIPE_FIELDS):
            yield from ((f"{key}.{option}", inner) for option, inner in value.items())
        else:
            yield key, value


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _check_option(registry: Registry, key: str, option: str, method: str) -> None:
    fields = method_class(registry, method).Config.model_fields
    if option not in fields:
        known = ", ".join(fields) or "none"
        raise UsageError(
            f"--set {key}: method '{method}' has no option '{option}' (it has {known}){suggestion(option, fields)}"
        )


def _unknown_key(registry: Registry, key: str, methods: Sequence[str]) -> str:
    options = {name: method_class(registry, name).Config.model_fields for name in dict.fromkeys(methods)}
    owners = [name for name, fields in options.items() if key in fields]
    if owners:
        return f"--set {key}: say whose option it is, as in --set {owners[0]}.{key}=..."
    known = sorted(RECIPE_FIELDS) + (list(next(iter(options.values()))) if len(options) == 1 else [])
    known += [f"{name}.{option}" for name, fields in options.items() for option in fields] if len(options) > 1 else []
    return f"--set {key}: neither the protocol nor the method has this option{suggestion(key, known)}"
