"""`pytest --ferbench NAME` in a plugin author's own suite."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.process


def test_the_conformance_suite_joins_the_authors_tests(tmp_path: Path) -> None:
    (tmp_path / "test_own.py").write_text("def test_own():\n    pass\n")
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "--ferbench", "linear", str(tmp_path)]
    shown = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "test_own" in shown.stdout
    assert "ferbench[head linear: maps features to an Output] PASSED" in shown.stdout


def test_a_plugin_that_is_not_installed_is_a_usage_error(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--ferbench", "liner", str(tmp_path)]
    shown = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert shown.returncode == pytest.ExitCode.USAGE_ERROR
    assert "'liner'" in shown.stderr
    assert "INTERNALERROR" not in shown.stdout + shown.stderr
