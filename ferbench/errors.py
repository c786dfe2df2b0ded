"""Errors that reach a person: one line that names the file, the value and the remedy, and an exit code."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import ClassVar

MAX_LISTED = 20


class FerbenchError(Exception):
    """A problem that a person can act on; the command line prints its text alone and exits with its code."""

    exit_code: ClassVar[int] = 1


class UsageError(FerbenchError):
    """The command, a name or a configuration value is wrong."""

    exit_code = 2


class PluginError(FerbenchError):
    """A plugin cannot be loaded, breaks the contract or clashes with another."""

    exit_code = 3


class DataError(FerbenchError):
    """Data is missing, damaged or not what a record says it was."""

    exit_code = 4


class VerificationError(FerbenchError):
    """A record or a committed table does not hold."""

    exit_code = 5


class ExecutorError(FerbenchError):
    """An executor failed, or what it says of its jobs is not so; cells that have a record are kept."""


class InterruptedRun(FerbenchError):
    """The person or the scheduler stopped the run; what was computed is saved."""

    exit_code = 130


def suggestion(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'fixmatch'?` for the nearest known name, else the empty string."""
    nearest = get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean '{nearest[0]}'?" if nearest else ""


def listed(lines: Sequence[str]) -> str:
    """The beginning of a list as indented lines, each after a line break, and how many more there are."""
    more = [f"and {len(lines) - MAX_LISTED} more"] if len(lines) > MAX_LISTED else []
    return "".join(f"\n  {line}" for line in [*lines[:MAX_LISTED], *more])
