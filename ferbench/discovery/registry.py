"""What is registered under which name, and whose it is."""

import functools
import hashlib
import importlib
import importlib.util
import json
import logging
import re
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pluggy

from ferbench.errors import PluginError, UsageError, suggestion

KINDS = ("methods", "heads", "datasets", "backbones", "views", "protocols", "executors", "commands")
BASES: Mapping[str, str] = {
    "methods": "ferbench.contract.method:Method",
    "protocols": "ferbench.contract.protocol:Protocol",
    "executors": "ferbench.contract.executor:Executor",
}
"""What targets subclass, or are an instance of; as strings, since some bases import torch."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """One registered name: where its target is, and whose it is."""

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

    def load(self) -> Any:
        """Import the target; a failure names the distribution, the target and the real error."""
        try:
            return _imported(self.target)
        except (Exception, SystemExit) as error:
            raise PluginError(
                f"{self.kind.removesuffix('s')} '{self.name}' of {self.distribution} {self.version}: "
                f"cannot import {self.target} ({describe(error)}); {_load_remedy(self, error)}"
            ) from error


@dataclass(frozen=True)
class PluginProblem:
    """What is wrong with a plugin, and what a person can do about it."""

    distribution: str
    version: str
    plugin: str
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"plugin '{self.plugin}' of {self.distribution} {self.version}: {self.message}; {self.remedy}"


@dataclass(frozen=True)
class LoadedPlugin:
    """A plugin in use: its entry point, its distribution, the hooks that it implements and what it registered."""

    name: str
    distribution: str
    version: str
    module: str
    hooks: tuple[str, ...]
    entries: tuple[Entry, ...]
    manager: pluggy.PluginManager

    @property
    def events(self) -> list[str]:
        """The hooks of run events that it implements."""
        return [hook for hook in self.hooks if not hook.startswith("ferbench_register_")]


@dataclass(frozen=True, eq=False)
class Registry:
    """Everything that built-ins and plugins registered, by kind and name, and the problems on the way."""

    entries: Mapping[str, Mapping[str, Entry]]
    plugins: tuple[LoadedPlugin, ...]
    problems: tuple[PluginProblem, ...]
    refused: Mapping[tuple[str, str], PluginProblem]

    def names(self, kind: str) -> list[str]:
        """The usable names of a kind, sorted."""
        return sorted(self.entries[kind])

    def get(self, kind: str, name: str) -> Entry:
        """The entry of a name; an unknown one is answered with the nearest, or with the plugin that should have it."""
        if name in self.entries[kind]:
            return self.entries[kind][name]
        singular = kind.removesuffix("s")
        if problem := self.refused.get((kind, name)) or self._probable_culprit(name):
            raise PluginError(f"no usable {singular} '{name}': {problem}")
        listing = "ferbench --help" if kind == "commands" else f"ferbench list {kind}"
        hint = suggestion(name, self.entries[kind])
        raise UsageError(f"no {singular} '{name}'{hint or ';'} `{listing}` names them all")

    def load(self, kind: str, name: str) -> Any:
        """Import the target of a name; one that is not what its kind must be is a PluginError."""
        target = self.get(kind, name).load()
        if (base := BASES.get(kind)) and not _is_of(target, _imported(base)):
            what = f"{kind.removesuffix('s')} '{name}'"
            raise PluginError(f"{what}: {target!r} is not a {base.replace(':', '.')}, nor a subclass of it")
        return target

    def notify(self, hook: str, **arguments: Any) -> None:
        """Send a run event to every plugin; what one of them raises is logged and never stops a run.

        Each gets a copy of its own: nothing that a hook does to it reaches the run or another plugin.
        """
        for plugin in self.plugins:
            if hook not in plugin.hooks:
                continue
            try:
                getattr(plugin.manager.hook, hook)(**deepcopy(arguments))
            except (Exception, SystemExit) as error:
                _log.warning(
                    "plugin '%s' of %s %s failed in %s (%s); the run goes on",
                    plugin.name,
                    plugin.distribution,
                    plugin.version,
                    hook,
                    describe(error),
                    exc_info=_log.isEnabledFor(logging.DEBUG),
                )

    def _probable_culprit(self, name: str) -> PluginProblem | None:
        """A plugin that could not be loaded has registered nothing; its name is the only clue to what it provides."""
        return next((p for p in self.problems if name in aliases(p.distribution, p.plugin)), None)


def source_hash(entry: Entry) -> str:
    """SHA-256 over the Python files of the top-level package of the target, without importing it."""
    return package_hash(entry.target.partition(":")[0].partition(".")[0])


@functools.cache
def package_hash(package: str) -> str:
    """SHA-256 over the Python files of a package, without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None:
        raise PluginError(f"package '{package}' cannot be found; install the plugin again")
    files: dict[str, Path] = {}
    if spec.submodule_search_locations is None:
        files = {Path(spec.origin).name: Path(spec.origin)} if spec.origin else {}
    for folder in map(Path, spec.submodule_search_locations or ()):
        files |= {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.py")}
    digests = [[name, hashlib.sha256(path.read_bytes()).hexdigest()] for name, path in sorted(files.items())]
    return hashlib.sha256(json.dumps(digests).encode()).hexdigest()


def aliases(distribution: str, plugin: str) -> set[str]:
    """The names under which a person may know a plugin."""
    full = normalized(distribution)
    return {full, full.removeprefix("ferbench-"), normalized(plugin)}


def normalized(name: str) -> str:
    """A distribution's name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def describe(error: BaseException) -> str:
    """Type and text of an error on one line."""
    return one_line(f"{type(error).__name__}: {error}").removesuffix(":")


def one_line(text: str) -> str:
    """The text without line breaks."""
    return " ".join(text.split())


def _load_remedy(entry: Entry, error: BaseException) -> str:
    own = entry.target.partition(".")[0].partition(":")[0]
    missing = error.name if isinstance(error, ModuleNotFoundError) and error.name else None
    if missing and missing.partition(".")[0] != own:
        return f"install what provides the module '{missing}', as {entry.distribution} asks"
    return f"update or uninstall {entry.distribution}; `ferbench -v ...` shows where it fails"


def _imported(target: str) -> Any:
    module, _, path = target.partition(":")
    return functools.reduce(getattr, path.split("."), importlib.import_module(module))


def _is_of(target: Any, base: type) -> bool:
    return issubclass(target, base) if isinstance(target, type) else isinstance(target, base)
