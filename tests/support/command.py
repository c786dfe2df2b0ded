"""The command line inside this process: fast, for what needs no worker."""

import io
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass

from ferbench.cli.main import main


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str


def call(*arguments: str) -> Outcome:
    """Run `ferbench ARGUMENTS` here; its exit code and what it printed."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(arguments)
    return Outcome(code, out.getvalue(), err.getvalue())


def succeed(*arguments: str) -> str:
    """What a command prints that must end well."""
    done = call(*arguments)
    assert done.code == 0, done.out + done.err
    return done.out
