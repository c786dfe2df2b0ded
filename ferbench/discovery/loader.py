"""Discovery of plugins: which are installed, which may be used, who owns a name, and what went wrong.

pluggy's own loader stops at the first entry point that fails to import, and silently skips a second one of the same
name. Here every fault of a plugin becomes a `PluginProblem`, and the others are still loaded.
"""

import importlib.metadata
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ferbench.discovery.registration import GROUP, Registration
from ferbench.discovery.registry import (
    KINDS,
    Entry,
    LoadedPlugin,
    PluginProblem,
    Registry,
    Tuning,
    aliases,
    normalized,
    singular,
)
from ferbench.errors import PluginError, suggestion
from ferbench.version import __version__

if TYPE_CHECKING:
    from ferbench.contract.protocol import Protocol

BUILTIN = "ferbench.builtin.plugin"
PLUGINS_VARIABLE = "FERBENCH_PLUGINS"
"""Plugins that are loaded, by distribution or entry point, with commas between them; empty: the built-ins alone."""
STRICT_VARIABLE = "FERBENCH_STRICT_PLUGINS"
"""With `1` a problem of a plugin is an error with exit code 3, for CI; without it, it is reported."""


def builtin_registry() -> Registry:
    """Return the registry of the core alone; it does not look for plugins, so it is fast and always works."""
    return load_registry({PLUGINS_VARIABLE: ""})


def builtin_protocols() -> "dict[str, Protocol]":
    """Return the protocols of the core by name; records are checked against them, whatever is installed."""
    known = builtin_registry()
    return {name: known.load("protocols", name) for name in known.names("protocols")}


def load_registry(
    environ: Mapping[str, str] = os.environ, found: Iterable[importlib.metadata.EntryPoint] | None = None
) -> Registry:
    """Load the built-ins and all plugins that `FERBENCH_PLUGINS` allows.

    `FERBENCH_PLUGINS` lists distributions or entry points (empty: built-ins only). With `FERBENCH_STRICT_PLUGINS=1`,
    problems raise a PluginError instead of being reported.
    """
    selection, problems = _select(environ, found)
    plugins: list[LoadedPlugin] = []
    refused: dict[tuple[str, str], PluginProblem] = {}
    for registration in [Registration("builtin", "ferbench", __version__, partial(import_module, BUILTIN)), *selection]:
        if plugin := registration.load():
            plugins.append(plugin)
        problems += registration.problems
        refused |= registration.refused
    entries, clashes = _resolve(plugins)
    for key, clash in clashes:
        problems.append(clash)
        if key[1] not in entries[key[0]]:
            refused.setdefault(key, clash)
    tunings, refused_tunings = _tunings(plugins, entries)
    problems += refused_tunings
    if problems and is_strict(environ):
        raise PluginError("FERBENCH_STRICT_PLUGINS is set, and there are problems: " + "; ".join(map(str, problems)))
    return Registry(entries, tuple(plugins), tuple(problems), refused, tuple(tunings))


def is_strict(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether problems of plugins are errors (for CI)."""
    return environ.get(STRICT_VARIABLE, "") not in ("", "0")


def _select(
    environ: Mapping[str, str], found: Iterable[importlib.metadata.EntryPoint] | None
) -> tuple[list[Registration], list[PluginProblem]]:
    """Return the entry points to load, in an order independent of the file system, and problems of the selection."""
    wanted = None
    if PLUGINS_VARIABLE in environ:
        wanted = [normalized(name) for name in environ[PLUGINS_VARIABLE].split(",") if name.strip()]
        if not wanted:
            return [], []
    points, hidden = _installed() if found is None else (found, [])
    candidates = sorted((_candidate(point) for point in points), key=lambda c: (c.distribution, c.name))
    problems = [*hidden, *_duplicate_names(candidates)]
    if wanted is None:
        return candidates, problems
    known = {alias for c in candidates for alias in aliases(c.distribution, c.name)}
    for name in wanted:
        if name not in known:
            message = f"FERBENCH_PLUGINS names '{name}', but no such plugin is installed{suggestion(name, known)}"
            remedy = "install it or correct the variable; `ferbench plugins list` lists the plugins"
            problems.append(PluginProblem(name, "?", name, message, remedy))
    return [c for c in candidates if not aliases(c.distribution, c.name).isdisjoint(wanted)], problems


def _installed() -> tuple[list[importlib.metadata.EntryPoint], list[PluginProblem]]:
    """Return the entry points of all distributions, and distributions that hide another one with the same name.

    Python uses the first one on its path.
    """
    first: dict[str, importlib.metadata.Distribution] = {}
    points: list[importlib.metadata.EntryPoint] = []
    problems = []
    for distribution in importlib.metadata.distributions():
        own: list[importlib.metadata.EntryPoint] = []
        with suppress(Exception):  # an unreadable distribution registers nothing
            own = [point for point in distribution.entry_points if point.group == GROUP]
        if not own:
            continue
        name = own[0].name
        with suppress(Exception):
            name = distribution.metadata["Name"] or name
        front = first.setdefault(normalized(name), distribution)
        if front is distribution:
            points += own
            continue
        with suppress(Exception):  # an unreadable distribution is not hidden either
            if _is_another(front, distribution):
                problems.append(_hiding(front, distribution, name, own[0].name))
    return points, problems


def _hiding(
    front: importlib.metadata.Distribution, hidden: importlib.metadata.Distribution, name: str, plugin: str
) -> PluginProblem:
    message = f"it hides version {hidden.version} in {_place(hidden)}: Python finds the one in {_place(front)} first"
    remedy = f"uninstall one of them (pip uninstall {name}, perhaps twice), or remove its folder from PYTHONPATH"
    return PluginProblem(name, front.version, plugin, message, remedy)


def _is_another(one: importlib.metadata.Distribution, other: importlib.metadata.Distribution) -> bool:
    """Whether two distributions of one name differ.

    A distribution built in its source folder has no METADATA, and its folder may be on the path twice.
    """
    if one.version != other.version:
        return True
    return _place(one) != _place(other) and None not in (one.read_text("METADATA"), other.read_text("METADATA"))


def _place(distribution: importlib.metadata.Distribution) -> str:
    return os.path.realpath(str(distribution.locate_file("")))


def _candidate(point: importlib.metadata.EntryPoint) -> Registration:
    # A damaged METADATA file has no name or version; the plugin is then reported under the name of its entry point.
    distribution = version = None
    with suppress(Exception):
        metadata: Any = point.dist
        distribution, version = metadata.name, metadata.version
    return Registration(point.name, distribution or point.name, version or "?", point.load)


def _duplicate_names(candidates: Iterable[Registration]) -> Iterator[PluginProblem]:
    by_name: dict[str, list[Registration]] = defaultdict(list)
    for candidate in candidates:
        by_name[candidate.name].append(candidate)
    for name, owners in by_name.items():
        for owner in owners[1:]:
            others = _and(f"{o.distribution} {o.version}" for o in owners if o is not owner)
            yield owner.problem(
                f"{others} has an entry point '{name}' too",
                "both are loaded, but FERBENCH_PLUGINS can tell them apart only by their distributions; rename one",
            )


def _resolve(
    plugins: Iterable[LoadedPlugin],
) -> tuple[dict[str, dict[str, Entry]], list[tuple[tuple[str, str], PluginProblem]]]:
    """Return the entries by kind and name, and clashes.

    Built-ins keep their names; if plugins clash, none of them gets the name, because any choice would be arbitrary.
    """
    claims: dict[tuple[str, str], list[tuple[str, Entry]]] = defaultdict(list)
    for plugin in plugins:
        for entry in plugin.entries:
            claims[entry.kind, entry.name].append((plugin.name, entry))
    entries: dict[str, dict[str, Entry]] = {kind: {} for kind in KINDS}
    clashes = []
    for (kind, name), claimants in claims.items():
        first = claimants[0][1]  # built-ins are loaded first
        kept = first if first.distribution == "ferbench" or len(claimants) == 1 else None
        if kept:
            entries[kind][name] = kept
        losers = [(plugin, entry) for plugin, entry in claimants if entry is not kept]
        clashes += [((kind, name), _clash(plugin, entry, kept, claimants)) for plugin, entry in losers]
    return entries, list(dict.fromkeys(clashes))


def _tunings(
    plugins: Iterable[LoadedPlugin], entries: Mapping[str, Mapping[str, Entry]]
) -> tuple[list[Tuning], list[PluginProblem]]:
    """Return the valid tunings, and problems: a distribution may tune only its own parts, and each part only once."""
    declared = [(plugin, tuning) for plugin in plugins for tuning in plugin.tunings]
    places = Counter(_tuned(tuning) for plugin, tuning in declared if _owns(plugin, tuning, entries))
    kept, problems = [], []
    for plugin, tuning in declared:
        if not _owns(plugin, tuning, entries):
            entry = entries[tuning.kind].get(tuning.name)
            whose = f"belongs to {entry.distribution}" if entry else "no distribution registers"
            message = f"it tunes {tuning}, which {whose}; the tuning is not used"
            remedy = f"move the tuning to the distribution that registers the {singular(tuning.kind)}"
        elif places[_tuned(tuning)] > 1:
            message, remedy = f"it tunes {tuning} more than once; none of these is used", "register only one of them"
        else:
            kept.append(tuning)
            continue
        problems.append(PluginProblem(plugin.distribution, plugin.version, plugin.name, message, remedy))
    return kept, list(dict.fromkeys(problems))


def _tuned(tuning: Tuning) -> tuple[str, ...]:
    return tuning.kind, tuning.name, tuning.variant, tuning.protocol, tuning.family


def _owns(plugin: LoadedPlugin, tuning: Tuning, entries: Mapping[str, Mapping[str, Entry]]) -> bool:
    entry = entries[tuning.kind].get(tuning.name)
    return entry is not None and entry.distribution == plugin.distribution


def _clash(plugin: str, entry: Entry, kept: Entry | None, claimants: Iterable[tuple[str, Entry]]) -> PluginProblem:
    claimants = list(claimants)
    if not kept and {each.distribution for _, each in claimants} == {entry.distribution}:
        message = f"registers {singular(entry.kind)} '{entry.name}' more than once; none of them is used"
        return PluginProblem(entry.distribution, entry.version, plugin, message, "rename one of them, or remove it")
    others = _and(f"{e.distribution} {e.version}" for _, e in claimants if e is not entry)
    message = f"{singular(entry.kind)} '{entry.name}' is also registered by {others}; "
    if kept:
        message += "the built-in one is used"
        remedy = f"ask the authors of {entry.distribution} for another name"
    else:
        message += "none of them is used"
        remedy = "uninstall one of them, or choose with FERBENCH_PLUGINS"
    return PluginProblem(entry.distribution, entry.version, plugin, message, remedy)


def _and(names: Iterable[str]) -> str:
    return " and ".join(dict.fromkeys(names))
