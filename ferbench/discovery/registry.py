"""The registry: every registered name, with its target and its owner."""

import functools
import hashlib
import importlib.util
import json
import logging
import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pluggy

from ferbench.discovery.foreign_code import ForeignError, foreign_code, printing_to_stderr
from ferbench.errors import PluginError, UsageError, suggestion

KINDS = ("methods", "heads", "datasets", "backbones", "weights", "views", "protocols", "executors", "commands")
BASES: Mapping[str, str] = {
    "methods": "ferbench.contract.method:Method",
    "protocols": "ferbench.contract.protocol:Protocol",
    "executors": "ferbench.contract.executor:Executor",
}
"""The base class that targets must subclass, or be an instance of; as strings, because some modules import torch."""
UNKNOWN_FIELDS = "ferbench.contract.protocol:unknown_fields"
DRAFT = "Draft: "
"""The prefix for the summary of a protocol that may still change."""


def singular(kind: str) -> str:
    """Return the word for one thing of a kind: `method` for `methods`."""
    return kind if kind == "weights" else kind.removesuffix("s")


_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """One registered name, with its target and its distribution."""

    kind: str
    name: str
    target: str
    summary: str
    paper: str
    api: int
    distribution: str
    version: str
    title: str = ""
    example: str = ""
    titles: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Titles of a method's variants, by variant."""

    def load(self) -> Any:
        """Import the target; raises PluginError with the distribution, the target and the original error."""
        try:
            with printing_to_stderr(), foreign_code():
                return resolve_name(self.target)
        except ForeignError as error:
            raise PluginError(
                f"{singular(self.kind)} '{self.name}' of {self.distribution} {self.version}: "
                f"cannot import {self.target} ({error}); {_load_remedy(self, error.__cause__)}"
            ) from error.__cause__


@dataclass(frozen=True)
class Tuning:
    """Options that were tuned under a protocol for a family of datasets, with the number of trials stated by the owner.

    They are options of a method (for all variants or one) or of a head, or fields of the recipe for a backbone.
    """

    kind: str
    name: str
    protocol: str
    family: str
    options: Mapping[str, Any]
    trials: int
    source: str
    distribution: str
    variant: str = ""

    def __str__(self) -> str:
        of_variant = f"@{self.variant}" if self.variant else ""
        return f"{singular(self.kind)} '{self.name}{of_variant}' under {self.protocol} for {self.family}"


@dataclass(frozen=True)
class PluginProblem:
    """A problem of a plugin, and what a person can do about it."""

    distribution: str
    version: str
    plugin: str
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"plugin '{self.plugin}' of {self.distribution} {self.version}: {self.message}; {self.remedy}"


@dataclass(frozen=True)
class LoadedPlugin:
    """A plugin in use: its entry point, its distribution, its hooks, and what it registered."""

    name: str
    distribution: str
    version: str
    module: str
    hooks: tuple[str, ...]
    entries: tuple[Entry, ...]
    tunings: tuple[Tuning, ...]
    manager: pluggy.PluginManager
    seconds: float = 0.0
    """Time for its import and registration."""

    @property
    def events(self) -> list[str]:
        """The hooks for run events that it implements."""
        return [hook for hook in self.hooks if not hook.startswith("ferbench_register_")]


@dataclass(frozen=True, eq=False)
class Registry:
    """Everything that built-ins and plugins registered, by kind and name, and all problems."""

    entries: Mapping[str, Mapping[str, Entry]]
    plugins: tuple[LoadedPlugin, ...]
    problems: tuple[PluginProblem, ...]
    refused: Mapping[tuple[str, str], PluginProblem]
    tunings: tuple[Tuning, ...] = ()

    def names(self, kind: str) -> list[str]:
        """Return the usable names of a kind, sorted."""
        return sorted(self.entries[kind])

    def get(self, kind: str, name: str) -> Entry:
        """Return the entry of a name.

        Raises UsageError with a suggestion if it is unknown, PluginError if the plugin that should have it is faulty.
        """
        if name in self.entries[kind]:
            return self.entries[kind][name]
        # A plugin that could not be loaded has registered nothing; its name is the only clue to what it provides.
        culprits = (p for p in self.problems if name in aliases(p.distribution, p.plugin))
        if problem := self.refused.get((kind, name)) or next(culprits, None):
            raise PluginError(f"{singular(kind)} '{name}' cannot be used: {problem}")
        listing = "ferbench --help" if kind == "commands" else f"ferbench list {kind}"
        # A family, such as all models of timm, is named with one of its members.
        families = {family: entry.example for family, entry in self.entries[kind].items() if entry.example}
        hint = suggestion(name, [*self.entries[kind], *families.values()])
        if families and not hint:
            hint = "".join(f"; if it is one of {family}, write '{family}/{name}'" for family in families) + ";"
        raise UsageError(f"no {singular(kind)} '{name}'{hint or ';'} `{listing}` lists them all")

    def load(self, kind: str, name: str) -> Any:
        """Import the target of a name; raises PluginError if it is not of the right class for its kind."""
        target = self.get(kind, name).load()
        if base := BASES.get(kind):
            is_of = issubclass if isinstance(target, type) else isinstance
            if not is_of(target, resolve_name(base)):
                what = f"{singular(kind)} '{name}'"
                raise PluginError(f"{what}: {target!r} must be an instance or a subclass of {base.replace(':', '.')}")
        if kind == "protocols":
            self._check_protocol(name, target)
        return target

    def _check_protocol(self, name: str, protocol: Any) -> None:
        what = f"protocol '{name}' of {self.get('protocols', name).distribution}"
        if isinstance(protocol, type):
            raise PluginError(f"{what}: its target is the class {protocol.__name__}; register an instance instead")
        if protocol.name != name:
            raise PluginError(f"{what}: its field name is '{protocol.name}'; make it equal to the registered name")
        if protocol.draft and not self.get("protocols", name).summary.startswith(DRAFT):
            raise PluginError(f"{what} is a draft, but its summary does not say so; begin it with '{DRAFT}'")
        if unknown := resolve_name(UNKNOWN_FIELDS)(protocol):
            raise PluginError(
                f"{what} declares {', '.join(dict.fromkeys(unknown))}, which ferbench does not know and would ignore; "
                "remove these fields, or install a version of ferbench that has them"
            )

    @property
    def titles(self) -> dict[tuple[str, str, str], str]:
        """The titles of variants of methods, by distribution, method and variant."""
        entries = self.entries["methods"].values()
        return {
            (entry.distribution, entry.name, variant): title
            for entry in entries
            for variant, title in entry.titles.items()
        }

    def tuning(self, kind: str, name: str, protocol: str, families: Sequence[str], variant: str = "") -> Tuning | None:
        """Return the tuning of a name under a protocol for the first of the families that has one, or None.

        A tuning of the variant takes precedence over one of the whole method.
        """
        found = {
            (each.family, each.variant): each
            for each in self.tunings
            if (each.kind, each.name, each.protocol) == (kind, name, protocol)
        }
        places = ((family, own) for family in families for own in (variant, ""))
        return next((found[place] for place in places if place in found), None)

    def notify(self, hook: str, **arguments: Any) -> None:
        """Send a run event to every plugin; errors of hooks are logged and never stop a run.

        Each plugin gets its own copy of the arguments, so that changing them does not affect the run or other plugins.
        """
        for plugin in self.plugins:
            if hook not in plugin.hooks:
                continue
            try:
                with foreign_code():
                    getattr(plugin.manager.hook, hook)(**deepcopy(arguments))
            except ForeignError as error:
                owner = f"plugin '{plugin.name}' of {plugin.distribution} {plugin.version}"
                verbose = _log.isEnabledFor(logging.DEBUG)
                _log.warning("%s failed in %s (%s); the run goes on", owner, hook, error, exc_info=verbose)


def source_hash(entry: Entry) -> str:
    """Return the SHA-256 over the Python files of the target's top-level package, without importing it."""
    return package_hash(entry.target.partition(":")[0].partition(".")[0])


@functools.cache
def package_hash(package: str) -> str:
    """Return the SHA-256 over the Python files of a package, without importing it; raises PluginError if missing."""
    spec = importlib.util.find_spec(package)
    if spec is None:
        raise PluginError(f"package '{package}' is not installed; install its plugin again")
    files: dict[str, Path] = {}
    if spec.submodule_search_locations is None:
        files = {Path(spec.origin).name: Path(spec.origin)} if spec.origin else {}
    for folder in map(Path, spec.submodule_search_locations or ()):
        files |= {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.py")}
    digests = [[name, hashlib.sha256(path.read_bytes()).hexdigest()] for name, path in sorted(files.items())]
    return hashlib.sha256(json.dumps(digests).encode()).hexdigest()


def aliases(distribution: str, plugin: str) -> set[str]:
    """Return the names under which a person may know a plugin."""
    full = normalized(distribution)
    return {full, full.removeprefix("ferbench-"), normalized(plugin)}


def normalized(name: str) -> str:
    """Return a distribution's name in the normal form of package indexes."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def _load_remedy(entry: Entry, error: BaseException | None) -> str:
    own = entry.target.partition(".")[0].partition(":")[0]
    missing = error.name if isinstance(error, ModuleNotFoundError) and error.name else None
    if missing and missing.partition(".")[0] != own:
        return f"install the package of the module '{missing}', which {entry.distribution} requires"
    return f"update or uninstall {entry.distribution}; `ferbench -v ...` shows where it fails"
