"""`ferbench plugins new KIND`: every package is installed, tests itself, keeps its contract, and is used in a run."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from ferbench.cli.scaffold import EXAMPLES
from tests.support.distributions import pip_install

pytestmark = [pytest.mark.process, pytest.mark.slow]

Ferbench = Callable[..., "subprocess.CompletedProcess[str]"]
TINY = ("--ratio", "0.05", "--set", "steps=2", "--set", "evaluations=1", "--device", "cpu")
USES = {
    "method": ("--method", "mine"),
    "head": ("--method", "supervised@weak", "--head", "mine"),
    "backbone": ("--method", "supervised@weak", "--backbone", "mine/4"),
    "dataset": ("--method", "supervised@weak", "--dataset", "mine", "--backbone", "small-resnet/4"),
    "executor": ("--method", "supervised@weak", "--executor", "mine"),
}


NIGHTLY = ("head", "backbone", "dataset", "protocol")
"""Half a minute each; the templates that all kinds share are tested with the others."""


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.storm) if kind in NIGHTLY else kind for kind in EXAMPLES]
)
def test_a_new_package_works(ferbench: Ferbench, tmp_path: Path, kind: str) -> None:
    made = ferbench("plugins", "new", kind, "mine")
    assert made.returncode == 0, made.stderr
    package, site = tmp_path / "ferbench-mine", tmp_path / "site"
    pip_install(site, package)
    paths = os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH"))))
    env = {"PYTHONPATH": paths, "FERBENCH_STRICT_PLUGINS": "1", "FERBENCH_PLUGINS": "mine,synthfaces"}

    def succeed(*arguments: str) -> str:
        shown = ferbench(*arguments, env=env)
        assert shown.returncode == 0, shown.stdout + shown.stderr
        return shown.stdout

    assert "mine" in succeed("plugins", "list")
    assert "FAILED" not in succeed("plugins", "check", "mine")
    tests = package_tests(package, env)
    assert tests.returncode == 0, tests.stdout + tests.stderr
    assert f"ferbench[{kind} mine" in tests.stdout
    if kind == "dataset":
        write_layout(tmp_path / "data")
        succeed("prepare", "mine", "--root", "data")
    if kind in USES:
        succeed("run", *USES[kind], *TINY)
    again = ferbench("plugins", "new", kind, "mine")
    assert again.returncode == 2
    assert "exists already" in again.stderr


def package_tests(package: Path, env: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider"]
    return subprocess.run(command, cwd=package, env={**os.environ, **env}, capture_output=True, text=True)


def write_layout(folder: Path) -> None:
    """What the scaffold's dataset reads."""
    folder.mkdir()
    lines = ["image,label,split"]
    for code in range(3):
        for number in range(30):
            name = f"{code}-{number}.png"
            Image.effect_noise((48, 48), 20 + 20 * code).convert("RGB").save(folder / name)
            lines.append(f"{name},{code},{'train' if number < 25 else 'test'}")
    (folder / "labels.csv").write_text("\n".join(lines))


def test_a_kind_that_is_none_is_refused(ferbench: Ferbench) -> None:
    made = ferbench("plugins", "new", "metod", "mine")
    assert made.returncode == 2
    assert "method" in made.stderr
