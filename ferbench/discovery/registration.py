"""One plugin: import it, check its hooks, collect what it registers; the only file that creates pluggy managers.

pluggy itself accepts a misspelt hook, and with one manager for all plugins a failing implementation would stop the
others. Here each plugin has its own manager, so that a faulty plugin cannot affect another.
"""

import inspect
import re
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import Any

import pluggy

from ferbench import hookspecs
from ferbench.discovery.foreign_code import ForeignError, foreign_code, one_line, printing_to_stderr
from ferbench.discovery.registry import KINDS, Entry, LoadedPlugin, PluginProblem, Tuning, singular
from ferbench.errors import suggestion
from ferbench.version import __version__

GROUP = "ferbench"
HOOKS = tuple(name for name in vars(hookspecs) if name.startswith("ferbench_"))
TUNED_KINDS = ("methods", "heads", "backbones")
SLOW_SECONDS = 2.0
"""A hook module is imported in a few milliseconds; a slower one is reported, because every command waits for it."""
VERY_SLOW_SECONDS = 10.0
"""If a hook module takes longer, every command shows a warning."""
HEAVY = ("torch", "pandas", "pydantic")

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_TARGET = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


class Unusable(Exception):
    """A plugin cannot be used; the arguments are the reason and the remedy."""


@dataclass
class Registration:
    """The loading of one plugin: its import, and the names that it registers."""

    name: str
    distribution: str
    version: str
    entry_point: Callable[[], Any]
    entries: list[Entry] = field(default_factory=list)
    tunings: list[Tuning] = field(default_factory=list)
    problems: list[PluginProblem] = field(default_factory=list)
    refused: dict[tuple[str, str], PluginProblem] = field(default_factory=dict)

    def load(self) -> LoadedPlugin | None:
        """Import the plugin, validate it and call its registration hooks; return None if it cannot be used.

        `problems` then has the reason.
        """
        began = time.monotonic()
        try:
            with printing_to_stderr(), foreign_code(Unusable):
                plugin = self._activate(self._import())
            return replace(plugin, seconds=time.monotonic() - began)
        except Unusable as unusable:
            message, remedy = unusable.args
        except ForeignError as error:
            message, remedy = f"cannot be inspected ({error})", self._update_remedy()
        seconds = time.monotonic() - began
        after = f", after {seconds:.1f} s" if seconds >= SLOW_SECONDS else ""
        self.problems, self.refused = [self.problem(message + after, remedy)], {}
        return None

    def problem(self, message: str, remedy: str) -> PluginProblem:
        """Return a problem of this plugin."""
        return PluginProblem(self.distribution, self.version, self.name, message, remedy)

    def _import(self) -> Any:
        absent = [name for name in HEAVY if name not in sys.modules]
        try:
            with foreign_code():
                plugin = self.entry_point()
        except ForeignError as error:
            raise Unusable(f"cannot be imported ({error})", self._update_remedy()) from error
        if slow := [name for name in absent if name in sys.modules]:
            self._report(
                f"its hook module imports {' and '.join(slow)}, which slows down every command",
                "import them in the modules of its targets",
            )
        return plugin

    def _activate(self, plugin: Any) -> LoadedPlugin:
        manager = pluggy.PluginManager(GROUP)
        manager.add_hookspecs(hookspecs)
        hooks = self._implemented_hooks(plugin, manager)
        try:
            manager.register(plugin)
        except (pluggy.PluginValidationError, ValueError) as error:
            right = (f"{name}({', '.join(inspect.signature(getattr(hookspecs, name)).parameters)})" for name in hooks)
            raise Unusable(one_line(str(error)), f"write the hooks as {', '.join(right)}") from error
        registers: dict[str, Callable[..., None]] = {kind: partial(self._register, kind) for kind in KINDS}
        for kind, register in {**registers, "tunings": self._register_tuning}.items():
            hook = f"ferbench_register_{kind}"
            try:
                with foreign_code():
                    getattr(manager.hook, hook)(register=register)
            except ForeignError as error:
                raise Unusable(f"{hook} failed ({error})", self._update_remedy()) from error
        module = plugin.__name__ if inspect.ismodule(plugin) else type(plugin).__module__
        entries, tunings = tuple(self.entries), tuple(self.tunings)
        return LoadedPlugin(self.name, self.distribution, self.version, module, hooks, entries, tunings, manager)

    def _implemented_hooks(self, plugin: Any, manager: pluggy.PluginManager) -> tuple[str, ...]:
        """Return the names of the implemented hooks; a misspelt or unmarked hook makes the plugin unusable."""
        hooks = []
        for attribute in dir(plugin):
            options = manager.parse_hookimpl_opts(plugin, attribute)
            looks_like_hook = attribute.startswith("ferbench_") and inspect.isroutine(
                inspect.getattr_static(plugin, attribute, None)
            )
            if options is None and not looks_like_hook:
                continue
            name = (options.get("specname") if options else None) or attribute
            if name not in HOOKS:
                raise Unusable(f"'{name}' is not a hook{suggestion(name, HOOKS)}", "rename the function")
            if options is None:
                raise Unusable(f"{name} is not marked as a hook", "decorate it with @hookimpl from ferbench.hookspecs")
            hooks.append(name)
        if not hooks:
            raise Unusable("it implements no hook", "let its entry point name the module with the @hookimpl functions")
        return tuple(hooks)

    def _register(
        self,
        kind: str,
        name: str,
        target: str,
        *,
        summary: str,
        paper: str = "",
        title: str = "",
        titles: Mapping[str, str] = MappingProxyType({}),
        example: str = "",
        api: int = hookspecs.API_VERSION,
    ) -> None:
        """The function `register` that hooks receive."""
        if not (isinstance(name, str) and _NAME.fullmatch(name)):
            self._report(
                f"{singular(kind)} name {name!r} is malformed", "use lower-case letters, digits and single hyphens"
            )
        elif not (isinstance(target, str) and _TARGET.fullmatch(target)):
            problem = self._report(
                f"target {target!r} of {singular(kind)} '{name}' is malformed", 'write it as "package.module:Class"'
            )
            self.refused[kind, name] = problem
        elif api != hookspecs.API_VERSION:
            self.refused[kind, name] = self._report(
                f"{singular(kind)} '{name}' is written for version {api!r} of the plugin contract, but ferbench "
                f"{__version__} has version {hookspecs.API_VERSION}",
                _api_remedy(api, self.distribution),
            )
        elif long := next((each for each in (title, *titles.values()) if len(each) > hookspecs.MAX_TITLE), None):
            self.refused[kind, name] = self._report(
                f"{singular(kind)} '{name}' has the title {long!r} of {len(long)} characters",
                f"shorten it to at most {hookspecs.MAX_TITLE}",
            )
        else:
            summary, paper, title, example = map(one_line, (summary, paper, title, example))
            titles = {variant: one_line(own) for variant, own in titles.items()}
            owner = self.distribution, self.version
            self.entries.append(Entry(kind, name, target, summary, paper, api, *owner, title, example, titles))

    def _register_tuning(
        self,
        protocol: str,
        family: str,
        options: Mapping[str, Any],
        *,
        method: str = "",
        head: str = "",
        backbone: str = "",
        variant: str = "",
        trials: int,
        source: str,
    ) -> None:
        """The function `register` that the hook of tunings receives."""
        tuned = [(kind, name) for kind, name in zip(TUNED_KINDS, (method, head, backbone), strict=True) if name]
        if len(tuned) != 1 or (variant and not method) or not isinstance(options, Mapping):
            self._report(
                f"a tuning under {protocol} for {family} is malformed",
                "give a dict of options, and exactly one of method=, head= and backbone= to say what they tune; "
                "variant= needs method=",
            )
            return
        (kind, name), owner = tuned[0], self.distribution
        tuning = Tuning(kind, name, protocol, family, options, trials, one_line(source), owner, variant)
        if type(trials) is not int or trials < 1 or not tuning.source:
            self._report(
                f"the tuning of {tuning} declares trials={trials!r}, source={source!r}",
                "give the number of settings that were tried, at least 1, and where the trials can be read",
            )
        else:
            self.tunings.append(tuning)

    def _report(self, message: str, remedy: str) -> PluginProblem:
        self.problems.append(self.problem(message, remedy))
        return self.problems[-1]

    def _update_remedy(self) -> str:
        return (
            f"update, repair or uninstall {self.distribution} (until then, FERBENCH_PLUGINS= loads only the built-ins)"
        )


def _api_remedy(api: object, distribution: str) -> str:
    if isinstance(api, int) and api < hookspecs.API_VERSION:
        return f"upgrade {distribution}"
    if isinstance(api, int):
        return f"upgrade ferbench, or install an older {distribution}"
    return f"api must be a whole number; write api={hookspecs.API_VERSION}"
