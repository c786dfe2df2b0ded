"""Turn `--set` into the overrides of a cell: find the owner of each option, and keep only real changes."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from ferbench.cells.resolve import groups_of, method_class, option_values, unknown_option
from ferbench.contract.protocol import Recipe
from ferbench.discovery.registry import Registry
from ferbench.errors import UsageError, recipe_hint, suggestion
from ferbench.records.dotted import flat
from ferbench.records.options_v1 import names_since_version_1

if TYPE_CHECKING:
    from ferbench.contract.method import MethodConfig

RECIPE_FIELDS = frozenset(Recipe.model_fields) - {"backbone"}
Options = dict[str, Any]


def sort_settings(
    registry: Registry, values: Mapping[str, Any], methods: Sequence[str], method: str
) -> tuple[Options, Options]:
    """Sort settings into fields of the protocol and options of this method; raises UsageError for unknown keys.

    `methods` are all methods of the grid: if there are several, an option needs the prefix of its method.
    """
    of_protocol: Options = {}
    of_method: Options = {}
    options = {name: method_class(registry, name).Config.option_fields() for name in dict.fromkeys(methods)}
    for key, value in flat(values, _tables(options)):
        prefix, _, option = key.partition(".")
        if prefix in options and option:
            if option not in options[prefix]:
                raise UsageError(f"--set {key}: {_unknown(registry, prefix, option)}")
            if prefix == method:
                of_method[option] = value
        elif prefix in RECIPE_FIELDS:
            of_protocol[key] = value
        elif len(options) == 1 and key in options[method]:
            of_method[key] = value
        else:
            raise UsageError(f"--set {key}: {_unknown_key(registry, key, options)}")
    return of_protocol, of_method


def recipe_changes(default: Recipe, chosen: Recipe) -> dict[str, JsonValue]:
    """Return the fields in which a recipe differs from the default, with validated values."""
    before, after = (dict(flat(recipe.model_dump(mode="json"))) for recipe in (default, chosen))
    return {key: value for key, value in after.items() if value != before[key]}


def config_changes(
    configured: Callable[[Mapping[str, Any]], "MethodConfig"], given: Mapping[str, Any]
) -> dict[str, JsonValue]:
    """Return the given options that change something, with validated values; `configured` makes configs of options."""
    chosen = configured(given)
    before, after = option_values(configured({})), option_values(chosen)
    changes = {key: after[key] for key in given if after[key] != before[key]}
    # One option may decide the default of another; then all given options must stay.
    return changes if configured(changes) == chosen else {key: after[key] for key in given}


def _tables(options: Mapping[str, Mapping[str, Any]]) -> frozenset[str]:
    """Return the names that may be tables: `weak = {padding = 2}`, `fixmatch = {threshold = 0.9}`, option groups."""
    groups = {name: groups_of(known) for name, known in options.items()}
    of_methods = {f"{name}.{group}" for name, found in groups.items() for group in found}
    return RECIPE_FIELDS.union(options, of_methods, *groups.values())


def _unknown(registry: Registry, method: str, option: str) -> str:
    return unknown_option(method, method_class(registry, method).Config, option)


def _unknown_key(registry: Registry, key: str, options: Mapping[str, Mapping[str, Any]]) -> str:
    owners = [name for name, known in options.items() if key in known]
    if owners:
        return f"add the name of the method, as in --set {owners[0]}.{key}=..."
    for name, known in options.items():
        if key in groups_of(known) or key in names_since_version_1(name):
            return _unknown(registry, name, key)
    several = len(options) > 1
    names = [f"{name}.{option}" if several else option for name, known in options.items() for option in known]
    hint = recipe_hint(key, "--set {}=...") or suggestion(key, sorted(RECIPE_FIELDS) + names)
    return f"neither the protocol nor the method has this option{hint}"
