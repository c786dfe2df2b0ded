"""The command line. Commands are loaded when they are called. Every error ends in one line and an exit code."""

import errno
import io
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn, TextIO

import click

from ferbench.cli.mistakes import explain
from ferbench.cli.output import use_color
from ferbench.cli.session import Session
from ferbench.discovery.foreign_code import describe, leave
from ferbench.errors import FerbenchError, PluginError, UsageError
from ferbench.posix import require_posix
from ferbench.render.escape import plain
from ferbench.version import __version__

INTERRUPTED = 130
VERBOSE_VARIABLE = "FERBENCH_VERBOSE"
"""If this is `1`, tracebacks and log messages are shown, as with `-v`."""
REMEDIES = {
    errno.ENAMETOOLONG: "use a shorter name",
    errno.ENOSPC: "free some space",
    errno.ELOOP: "remove the link, which leads to itself",
    errno.EPIPE: "nobody reads it any more",
}
"""Remedies for errors of the system. For other errors their own words must be enough."""


class VerbGroup(click.Group):
    """Commands from the registry. The help shows their summaries without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands of the core in the order of their registration, then those of plugins."""
        session = _session(ctx)
        verbs = list(session.builtins.entries["commands"])
        return verbs + [name for name in session.registry.names("commands") if name not in verbs]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command. Commands of the core are found without looking for plugins."""
        session = _session(ctx)
        entry = session.builtins.entries["commands"].get(cmd_name) or session.registry.entries["commands"].get(cmd_name)
        if entry is None:
            return None
        command = entry.load()
        if not isinstance(command, click.Command):
            raise PluginError(
                f"command '{cmd_name}' of {entry.distribution} {entry.version}: {entry.target} is not a click command; "
                f"update or uninstall {entry.distribution}"
            )
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Like click, but for an unknown command the error names the nearest one, or the plugin that should have it."""
        if not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            _session(ctx).registry.get("commands", args[0])
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands."""
        known = _session(ctx).registry.entries["commands"]
        with formatter.section("Commands"):
            formatter.write_dl([(name, known[name].summary) for name in self.list_commands(ctx)])


def _session(ctx: click.Context) -> Session:
    # `main` makes a session for every call; a program that only reads the commands, such as click-man, has none.
    return ctx.ensure_object(Session)


def _set_verbose(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    # This happens while options are read, not when the group runs: a command may fail to import before that.
    _session(ctx).verbose |= value


@click.command(cls=VerbGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, message="ferbench %(version)s")
@click.option(
    "-v",
    "--verbose",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_set_verbose,
    help="Show tracebacks and log messages (also FERBENCH_VERBOSE=1).",
)
@click.pass_obj
def app(session: Session) -> None:
    """Benchmarks of semi-supervised facial expression recognition.

    First run: `ferbench run --method supervised,fixmatch --ratio 0.05 --seed 0`. To check and repair an installation:
    `ferbench doctor`.

    Exit codes: 0 done, 1 a cell failed, 2 usage, 3 plugin, 4 data, 5 verification, 130 interrupted.
    """
    if session.verbose:
        logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    called = tuple(sys.argv[1:] if arguments is None else arguments)
    session = Session(verbose=os.environ.get(VERBOSE_VARIABLE, "") not in ("", "0"), arguments=called)
    streams = sys.stdout, sys.stderr
    try:
        require_posix()
        _begin_output()
        result = app.main(arguments, prog_name="ferbench", standalone_mode=False, obj=session)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except FerbenchError as error:
        return _fail(error, str(error), error.exit_code, session)
    except (click.Abort, KeyboardInterrupt) as error:
        return _fail(error, "interrupted", INTERRUPTED, session)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return error.exit_code
    except click.ClickException as error:
        message, context = explain(error), getattr(error, "ctx", None)
        if context is not None:
            message += f"{'' if message.endswith('?') else ';'} see `{context.command_path} --help`"
        return _fail(error, message, error.exit_code, session)
    except OSError as error:
        return _fail_of_system(error, session)
    except SystemExit:
        if streams == (sys.stdout, sys.stderr):
            raise
        sys.stdout, sys.stderr = streams  # click has wrapped them and exits: nobody reads the output
        return _fail_of_system(BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)), session)
    except BaseException as error:
        message = f"{describe(error)}; this is a bug in ferbench or a plugin"
        if not session.verbose:
            message += ", `ferbench -v ...` or FERBENCH_VERBOSE=1 shows where"
        return _fail(error, message, 1, session)


def console() -> NoReturn:
    """Run the command line as a separate process."""
    leave(main())


def _begin_output() -> None:
    """Make sure that there is an output and that it accepts every text: file names may contain invalid characters."""
    if sys.stdout is None:
        raise UsageError("standard output is closed; send it to a file, or to /dev/null")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _fail_of_system(error: OSError, session: Session) -> int:
    what = error.filename if isinstance(error.filename, str) else "cannot write the output"
    remedy = f"; {REMEDIES[error.errno]}" if error.errno in REMEDIES else ""
    exit_code = UsageError.exit_code if error.errno == errno.ENAMETOOLONG else 1
    return _fail(error, f"{plain(what)}: {error.strerror or describe(error)}{remedy}", exit_code, session)


def _fail(error: BaseException, message: str, exit_code: int, session: Session) -> int:
    _give_up_unwritable(sys.stdout)
    # The message may quote untrusted bytes, which could control a terminal.
    message = "".join(char if char.isprintable() or char == "\n" else ascii(char)[1:-1] for char in message)
    with suppress(OSError):
        if session.verbose:
            traceback.print_exception(error)
        prefix = click.style("error:", fg="red", bold=True)
        click.echo(f"{prefix} {message}", err=True, color=use_color())
    _give_up_unwritable(sys.stderr)
    return exit_code


def _give_up_unwritable(stream: TextIO | None) -> None:
    """Discard what a stream does not accept. Otherwise Python tries again at the end and prints its own error."""
    if stream is None:
        return
    try:
        stream.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError), open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())
