"""Every way in which a command can end."""

from collections.abc import Callable
from typing import Any

import click
import pytest

from ferbench.cli import main as command_line
from ferbench.errors import DataError, InterruptedRun, VerificationError

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
