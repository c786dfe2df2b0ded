"""What the commands of one call share. Plugins are loaded when the first command asks for them."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from ferbench.cli.output import print_warning, slow_remedy, slowness
from ferbench.discovery.loader import builtin_protocols, builtin_registry, load_registry
from ferbench.discovery.registration import VERY_SLOW_SECONDS
from ferbench.discovery.registry import Registry

if TYPE_CHECKING:
    from ferbench.contract.protocol import Protocol


@dataclass
class Session:
    """One call of the command line."""

    verbose: bool = False
    arguments: tuple[str, ...] = ()
    """The arguments of the call, without the name of the program."""

    @cached_property
    def builtins(self) -> Registry:
        """The registrations of the core: quick, and available whatever is installed."""
        return builtin_registry()

    @cached_property
    def registry(self) -> Registry:
        """The registrations of the core and of all plugins. Warns about plugins that slow down every command."""
        found = load_registry()
        for plugin in found.plugins:
            if plugin.seconds >= VERY_SLOW_SECONDS:
                print_warning(f"{slowness(plugin)}; {slow_remedy(plugin)}")
        return found

    @cached_property
    def protocols(self) -> "dict[str, Protocol]":
        """The protocols of the core, against which records are checked."""
        return builtin_protocols()
