"""The conformance suite: checks for plugins of every kind, which run on the CPU in seconds."""

import importlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch

from ferbench.conformance.framework import Check, CheckResult
from ferbench.conformance.surroundings import Surroundings
from ferbench.discovery.loader import load_registry
from ferbench.discovery.registry import Entry, LoadedPlugin, Registry, singular
from ferbench.errors import PluginError, UsageError, suggestion

LOADS = Check(
    "can be imported",
    protects="every command that uses this name",
    mend="correct the module, or the target that the hook registers",
    function=lambda entry: _load(entry),
)


def check_plugin(
    name: str, registry: Registry | None = None, *, slow: bool = False, root: Path | None = None
) -> list[CheckResult]:
    """Check everything that a plugin registers, and its hooks for run events.

    `name` is its entry point, its distribution or one of its registered names. Without a registry, the installed
    plugins are loaded. With `slow`, checks that start processes run too. `root` is the folder of a dataset that the
    user must provide.

    Raises:
        UsageError: no plugin has this name.
        PluginError: the plugin cannot be loaded.
    """
    registry = load_registry() if registry is None else registry
    return [check() for _, check in planned_checks(registry, name, slow=slow, root=root)]


def planned_checks(
    registry: Registry, name: str, *, slow: bool = False, root: Path | None = None
) -> Iterator[tuple[str, Callable[[], CheckResult]]]:
    """Yield the checks of a plugin by title, not yet run; a target that cannot be imported gets only that check."""
    # For such small tensors, threads cost more than they save.
    torch.set_num_threads(1)
    plugins, entries = _found(registry, name)
    surroundings = Surroundings(registry, root)
    for entry in entries:
        yield _planned(entry, LOADS, entry)
        try:
            entry.load()
        except PluginError:
            continue
        kind = importlib.import_module(f"ferbench.conformance.{entry.kind}")
        case = kind.case(entry, surroundings)
        for check in kind.CHECKS:
            if slow or not check.slow:
                yield _planned(entry, check, case)
    for plugin in plugins:
        for hook in plugin.events:
            check = Check(f"listens to {hook}", protects="", mend="", function=lambda hook: None)
            yield f"plugin {plugin.name}: {check.name}", partial(check.run, f"plugin {plugin.name}: {check.name}", hook)


def _planned(entry: Entry, check: Check, case: object) -> tuple[str, Callable[[], CheckResult]]:
    title = f"{singular(entry.kind)} {entry.name}: {check.name}"
    return title, partial(check.run, title, case)


def _found(registry: Registry, name: str) -> tuple[list[LoadedPlugin], list[Entry]]:
    """Return the plugins with a name and all their entries, or the entries that have this name themselves."""
    plugins = [plugin for plugin in registry.plugins if name in (plugin.name, plugin.distribution)]
    if plugins:
        return plugins, [entry for plugin in plugins for entry in plugin.entries]
    if named := [entries[name] for entries in registry.entries.values() if name in entries]:
        return [], named
    if problem := next((p for p in registry.problems if name in (p.plugin, p.distribution)), None):
        raise PluginError(str(problem))
    names = [p.name for p in registry.plugins] + [p.distribution for p in registry.plugins]
    raise UsageError(f"no plugin '{name}'{suggestion(name, names)}; `ferbench plugins list` lists them")


def _load(entry: Entry) -> str:
    entry.load()
    return entry.target
