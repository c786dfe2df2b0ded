"""Every way in which a command can end."""

import errno
import os
from collections.abc import Callable
from typing import Any

import click
import pytest

import ferbench
from ferbench import posix
from ferbench.cli import main as command_line
from ferbench.errors import DataError, InterruptedRun, UsageError, VerificationError

Ending = Callable[..., int]


@pytest.fixture
def ending(monkeypatch: pytest.MonkeyPatch) -> Ending:
    """The exit code of a verb that does `action`."""

    def end(action: Callable[[], Any], *arguments: str) -> int:
        verb = click.Command("verb", callback=action)
        monkeypatch.setattr(command_line.VerbGroup, "get_command", lambda self, ctx, name: verb)
        return command_line.main([*arguments, "verb"])

    return end


def raising(error: BaseException) -> Callable[[], Any]:
    def action() -> None:
        raise error

    return action


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (DataError("faces.npy: truncated; prepare it again"), 4, "error: faces.npy: truncated; prepare it again\n"),
        (VerificationError("accuracy"), 5, "error: accuracy\n"),
        (InterruptedRun("saved"), 130, "error: saved\n"),
        (KeyboardInterrupt(), 130, "error: interrupted\n"),
        (click.UsageError("no"), 2, "error: no; see `ferbench verb --help`\n"),
        (DataError("a: \x1b[2J\ud800\n  b"), 4, "error: a: \\x1b[2J\\ud800\n  b\n"),
    ],
)
def test_errors_are_one_line(
    ending: Ending, capsys: pytest.CaptureFixture[str], error: BaseException, code: int, text: str
) -> None:
    assert ending(raising(error)) == code
    assert capsys.readouterr().err.lstrip("\n") == text


def test_a_bug_says_so_and_how_to_see_where(ending: Ending, capsys: pytest.CaptureFixture[str]) -> None:
    assert ending(raising(ZeroDivisionError("division by zero"))) == 1
    error = capsys.readouterr().err
    assert "ZeroDivisionError: division by zero; this is a bug" in error
    assert "ferbench -v" in error
    assert "Traceback" not in error


class Mute(Exception):
    def __str__(self) -> str:
        raise self


@pytest.mark.parametrize("error", [Mute(), GeneratorExit(), BaseExceptionGroup("several", [KeyboardInterrupt()])])
def test_whatever_a_command_raises_ends_in_one_line(
    ending: Ending, capsys: pytest.CaptureFixture[str], error: BaseException
) -> None:
    assert ending(raising(error)) == 1
    shown = capsys.readouterr().err
    assert shown.startswith(f"error: {type(error).__name__}")
    assert shown.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (OSError(errno.ENAMETOOLONG, "File name too long", "a" * 400), 2, "…: File name too long; use a shorter name"),
        (OSError(errno.ELOOP, "Too many levels of symbolic links", "1.png"), 1, "1.png: Too many levels"),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "cannot write the output: No space left on device"),
        (PermissionError(errno.EACCES, "Permission denied", "runs"), 1, "runs: Permission denied"),
    ],
)
def test_errors_of_the_system_are_no_bugs(
    ending: Ending, capsys: pytest.CaptureFixture[str], error: OSError, code: int, words: str
) -> None:
    assert ending(raising(error)) == code
    shown = capsys.readouterr().err
    assert words in shown and "bug" not in shown and shown.count("\n") == 1 and len(shown) < 300


@pytest.mark.parametrize("name", posix.NEEDED)
def test_a_system_without_posix_is_named_at_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delattr(os, name)
    assert command_line.main(["list"]) == 2
    shown = capsys.readouterr()
    assert (shown.out, f"os.{name}" in shown.err, "WSL" in shown.err) == ("", True, True)
    with pytest.raises(UsageError, match="POSIX"):
        _ = ferbench.load


def test_verbose_shows_the_traceback(
    ending: Ending, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ending(raising(DataError("gone")), "-v") == 4
    assert "Traceback" in capsys.readouterr().err
    monkeypatch.setenv("FERBENCH_VERBOSE", "1")
    assert ending(raising(DataError("gone"))) == 4
    assert "Traceback" in capsys.readouterr().err


def test_exit_codes_of_commands_are_kept(ending: Ending) -> None:
    assert ending(lambda: None) == 0
    assert ending(lambda: click.get_current_context().exit(1)) == 1
