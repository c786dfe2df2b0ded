"""The command line itself: help is light, errors are one line with the right exit code."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ferbench import __version__
from ferbench.discovery.loader import builtin_registry

Ferbench = Callable[..., "subprocess.CompletedProcess[str]"]

LOADED = """
import sys
from ferbench.cli.main import main
code = main(sys.argv[1:])
print([name for name in ("torch", "pandas", "pydantic", "rich") if name in sys.modules], file=sys.stderr)
"""


@pytest.mark.process
@pytest.mark.parametrize("command", [["--help"], ["list"], ["list", "methods", "--json"], ["plugins", "list"]])
def test_help_and_lists_import_nothing_heavy(command: list[str]) -> None:
    """Also holds for every plugin that is installed: their hook modules are imported here."""
    shown = subprocess.run([sys.executable, "-c", LOADED, *command], capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    assert shown.stderr.splitlines()[-1] == "[]"


@pytest.mark.process
@pytest.mark.parametrize(
    ("redirection", "code", "words"),
    [
        ("| true", 1, "cannot write the output: Broken pipe"),
        (">/dev/full", 1, "cannot write the output: No space left on device"),
        (">&-", 2, "standard output is closed"),
        (">/dev/full 2>/dev/full", 1, ""),
        ("2>&-", 0, ""),
    ],
)
@pytest.mark.parametrize("command", ["list", "--help"])
def test_an_output_that_nobody_takes_is_one_line(command: str, redirection: str, code: int, words: str) -> None:
    if redirection == "| true":  # which is gone before anything is written
        redirection = "| (exec <&-)"
    script = f"set -o pipefail; {{ sleep 0.3; {sys.executable} -m ferbench {command}; }} {redirection}"
    shown = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    if (command, redirection) == ("--help", ">&-"):
        assert shown.returncode == code
    assert (shown.returncode, shown.stderr.count("\n")) == (code, int(bool(words))), shown.stderr
    assert words in shown.stderr


@pytest.mark.process
def test_a_name_of_a_file_that_is_no_text_is_shown(ferbench: Ferbench, tmp_path: Path) -> None:
    shown = ferbench("status", "--runs", "runs-\udcff")
    assert shown.returncode == 0
    assert r"runs-\udcff" in shown.stdout


def test_help_names_every_verb_with_a_summary(ferbench: Ferbench) -> None:
    shown = ferbench("--help")
    assert shown.returncode == 0
    entries = builtin_registry().entries["commands"].values()
    assert {"run", "list", "plugins", "doctor"} <= {entry.name for entry in entries}
    for entry in entries:
        assert f"\n  {entry.name} " in shown.stdout
        assert entry.summary in shown.stdout


def test_version(ferbench: Ferbench) -> None:
    assert ferbench("--version").stdout == f"ferbench {__version__}\n"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["lsit"], "did you mean 'list'?"),
        (["list", "metods"], "'methods'"),
        (["list", "--jsno"], "--json"),
        (["plugins"], "Commands:"),
        ([], "Commands:"),
    ],
)
def test_usage_errors_exit_2_with_a_suggestion(ferbench: Ferbench, command: list[str], words: str) -> None:
    shown = ferbench(*command)
    assert shown.returncode == 2
    assert words in shown.stderr
    assert "Traceback" not in shown.stderr


def test_list_is_plain_off_a_terminal_and_complete(ferbench: Ferbench) -> None:
    shown = ferbench("list", "methods", env={"COLUMNS": "40", "FORCE_COLOR": "1"})
    assert "\x1b" not in shown.stdout
    header, *rows = shown.stdout.splitlines()
    assert header.split() == ["NAME", "SUMMARY", "PAPER", "FROM"]
    (row,) = [row for row in rows if row.startswith("fixmatch ")]
    assert "arXiv 2001.07685" in row
    assert row.endswith("ferbench 0.1.0")


def test_list_as_json(ferbench: Ferbench) -> None:
    entries = json.loads(ferbench("list", "--json").stdout)
    (fixmatch,) = [entry for entry in entries if entry["name"] == "fixmatch"]
    assert (fixmatch["kind"], fixmatch["distribution"]) == ("methods", "ferbench")


@pytest.mark.process
def test_doctor_checks_everything_and_leaves_nothing_behind(ferbench: Ferbench, tmp_path: Path) -> None:
    shown = ferbench("doctor", "--json")
    checks = {check["name"]: check for check in json.loads(shown.stdout)}
    assert {"python", "packages", "device", "processor", "memory", "runs folder", "plugins", "datasets"} <= set(checks)
    assert all(check["remedy"] for check in checks.values() if check["exit_code"])
    assert checks["runs folder"]["exit_code"] == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.process
def test_a_system_without_flags_of_posix_is_named_before_anything_is_read(tmp_path: Path) -> None:
    """As on Windows, where Python's os lacks them from the beginning."""
    script = (
        "import os, sys\n"
        "for name in ('O_NONBLOCK', 'O_CLOEXEC', 'O_NOFOLLOW', 'O_DIRECTORY'):\n"
        "    delattr(os, name)\n"
        "from ferbench.cli.main import main\n"
        "sys.exit(main())\n"
    )
    command = ["prepare", "image-folder", "--name", "d", "--root", str(tmp_path), "--check", "--workers", "1"]
    done = subprocess.run([sys.executable, "-c", script, *command], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ferbench needs a POSIX system") and "Traceback" not in done.stderr
