"""Checks for commands."""

from dataclasses import dataclass

import click
from click.testing import CliRunner, Result

from ferbench.conformance.framework import Checks
from ferbench.conformance.surroundings import Surroundings
from ferbench.discovery.registry import Entry

WRONG = "--no-such-option-of-this-command"

CHECKS = Checks()


@dataclass(frozen=True)
class CommandCase:
    """A command and its name."""

    name: str
    command: click.Command

    def call(self, *arguments: str) -> Result:
        """Call the command as if it were typed, and return the result."""
        return CliRunner().invoke(self.command, arguments, prog_name=f"ferbench {self.name}")

    def parts(self) -> list[tuple[str, click.Command]]:
        """Return the command with its name; for a group, also each of its commands."""
        within = self.command.commands.items() if isinstance(self.command, click.Group) else ()
        return [(self.name, self.command), *((f"{self.name} {name}", part) for name, part in within)]


def case(entry: Entry, surroundings: Surroundings) -> CommandCase:
    """Return the case of a registered command."""
    return CommandCase(entry.name, entry.load())


@CHECKS.add(
    "is a click command with help",
    protects="people at the command line: `ferbench NAME --help` must explain each command and option",
    mend="decorate a function with @click.command(), write its docstring, and give each option a help=",
)
def helps(case: CommandCase) -> str:
    assert isinstance(case.command, click.Command), f"it is a {type(case.command).__name__}, not a click.Command"
    for name, part in case.parts():
        assert part.help or part.callback is None, f"'{name}' has no help: its function has no docstring"
        for option in part.params:
            if isinstance(option, click.Option) and not option.hidden:
                assert option.help, f"'{name}': the option {option.opts[0]} has no help"
    shown = case.call("--help")
    assert shown.exit_code == 0, f"--help ends with exit code {shown.exit_code}: {_reason(shown)}"
    return ", ".join(name for name, _ in case.parts())


@CHECKS.add(
    "a wrong option ends with exit code 2",
    protects="scripts: they distinguish a mistake in the command (2) from a failure of the work (1)",
    mend="leave exit codes to click and ferbench.errors: raise UsageError, and never catch SystemExit or call sys.exit",
)
def usage(case: CommandCase) -> None:
    ended = case.call(WRONG)
    assert ended.exit_code == 2, f"{WRONG} ends with exit code {ended.exit_code}: {_reason(ended)}"


def _reason(ended: Result) -> str:
    return repr(ended.exception) if ended.exception else ended.output[:200]
