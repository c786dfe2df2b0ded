"""Good, broken and clashing plugins, really installed: the command line works on and names culprit and remedy."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.distributions import pip_install, write_wheel

pytestmark = pytest.mark.process

Ferbench = Callable[..., "subprocess.CompletedProcess[str]"]

HEAD = "from ferbench.hookspecs import hookimpl\n"
METHOD = """
@hookimpl
def ferbench_register_methods(register):
    register({name!r}, "{module}:Method", summary="A throw-away method", api={api})
"""
COMMAND = """
@hookimpl
def ferbench_register_commands(register):
    register("greet", "ferbench_good:make_command", summary="Say hello")
    register("stuck", "ferbench_good:absent", summary="A command whose target is missing")

def __getattr__(name):
    if name != "make_command":
        raise AttributeError(name)
    import click
    return click.Command("greet", callback=lambda: click.echo("hello"))
"""
SOURCES = {
    "ferbench-good": HEAD + METHOD.format(name="good", module="ferbench_good", api=1) + COMMAND,
    "ferbench-broken": "import a_module_that_is_not_installed\n",
    "ferbench-exits": "raise SystemExit('not on this system')\n",
    "ferbench-misspelt": HEAD + "@hookimpl\ndef ferbench_register_metods(register):\n    pass\n",
    "ferbench-signature": HEAD + "@hookimpl\ndef ferbench_register_heads(catalogue):\n    pass\n",
    "ferbench-twin-a": HEAD + METHOD.format(name="twin", module="ferbench_twin_a", api=1),
    "ferbench-twin-b": HEAD + METHOD.format(name="twin", module="ferbench_twin_b", api=1),
    "ferbench-double": HEAD
    + METHOD.format(name="double", module="ferbench_double", api=1)
    + '    register("double", "ferbench_double:Other", summary="The same name", api=1)\n',
    "ferbench-future": HEAD + METHOD.format(name="future", module="ferbench_future", api=99),
    "ferbench-heavy": HEAD + "import pandas\n" + METHOD.format(name="heavy", module="ferbench_heavy", api=1),
}
CULPRITS = {
    "ferbench-broken": ("No module named 'a_module_that_is_not_installed'", "repair or uninstall ferbench-broken"),
    "ferbench-exits": ("SystemExit: not on this system", "repair or uninstall ferbench-exits"),
    "ferbench-misspelt": ("did you mean 'ferbench_register_methods'?", "rename the function"),
    "ferbench-signature": ("catalogue", "ferbench_register_heads(register)"),
    "ferbench-twin-a": ("also registered by ferbench-twin-b 1.0", "uninstall one of them"),
    "ferbench-twin-b": ("also registered by ferbench-twin-a 1.0", "uninstall one of them"),
    "ferbench-double": ("method 'double' more than once", "rename one of them"),
    "ferbench-future": ("version 99 of the plugin contract", "upgrade ferbench"),
    "ferbench-heavy": ("imports pandas", "modules of its targets"),
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all throw-away distributions."""
    wheels, target = tmp_path_factory.mktemp("wheels"), tmp_path_factory.mktemp("site")
    pip_install(target, *(write_wheel(wheels, name, source) for name, source in SOURCES.items()))
    return target


@pytest.fixture
def with_plugins(ferbench: Ferbench, site: Path) -> Ferbench:
    """The command line in an environment that has them."""

    def run(*arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
        return ferbench(*arguments, env={"PYTHONPATH": str(site), **env})

    return run


@pytest.mark.parametrize("culprit", CULPRITS)
def test_plugins_list_names_culprit_and_remedy(with_plugins: Ferbench, culprit: str) -> None:
    twins = "ferbench-twin-a,ferbench-twin-b"
    chosen = twins if "twin" in culprit else culprit
    shown = with_plugins("plugins", "list", FERBENCH_PLUGINS=f"ferbench-good,{chosen}")
    assert shown.returncode == 0, shown.stderr
    message, remedy = CULPRITS[culprit]
    (problem,) = [part for part in shown.stdout.split("\nproblem: ") if f"of {culprit} 1.0\n" in part]
    assert message in problem
    assert remedy in problem
    assert "methods: good" in shown.stdout


def test_everything_at_once_leaves_the_command_line_working(with_plugins: Ferbench) -> None:
    shown = with_plugins("list", "methods", "--json")
    assert shown.returncode == 0, shown.stderr
    names = [entry["name"] for entry in json.loads(shown.stdout)]
    assert {"good", "heavy", "fixmatch", "supervised"} <= set(names)
    assert {"twin", "future"}.isdisjoint(names)
    warnings = shown.stderr.splitlines()
    assert all(line.startswith("warning: plugin ") for line in warnings)
    for culprit, (message, remedy) in CULPRITS.items():
        (line,) = [line for line in warnings if f"of {culprit} 1.0:" in line]
        assert message in line
        assert remedy in line


def test_plugins_list_as_json(with_plugins: Ferbench) -> None:
    listing = json.loads(with_plugins("plugins", "list", "--json").stdout)
    assert {problem["distribution"] for problem in listing["problems"]} == set(CULPRITS)
    good = next(plugin for plugin in listing["plugins"] if plugin["distribution"] == "ferbench-good")
    assert good["provides"] == {"methods": ["good"], "commands": ["greet", "stuck"]}
    assert good["module"] == "ferbench_good"


def test_strict_mode_makes_problems_errors(with_plugins: Ferbench) -> None:
    strict = {"FERBENCH_STRICT_PLUGINS": "1"}
    listed = with_plugins("plugins", "list", **strict)
    assert listed.returncode == 3
    assert "problem: plugin 'broken'" in listed.stdout
    assert with_plugins("list", **strict).returncode == 3
    assert with_plugins("list", FERBENCH_PLUGINS="ferbench-good", **strict).returncode == 0


def test_empty_selection_is_the_rescue(with_plugins: Ferbench) -> None:
    shown = with_plugins("list", "methods", FERBENCH_PLUGINS="")
    assert shown.returncode == 0
    assert shown.stderr == ""
    assert "good" not in shown.stdout


def test_commands_of_plugins(with_plugins: Ferbench) -> None:
    assert "Say hello" in with_plugins("--help").stdout
    assert with_plugins("greet").stdout == "hello\n"
    stuck = with_plugins("stuck")
    assert stuck.returncode == 3
    assert "command 'stuck' of ferbench-good 1.0" in stuck.stderr
    assert "Traceback" not in stuck.stderr
    assert "Traceback" in with_plugins("-v", "stuck").stderr


def test_command_that_a_refused_plugin_should_have(with_plugins: Ferbench) -> None:
    shown = with_plugins("broken")
    assert shown.returncode == 3
    assert "a_module_that_is_not_installed" in shown.stderr


@pytest.mark.process
def test_doctor_shows_problems_with_remedies_and_exits_3(with_plugins: Ferbench) -> None:
    shown = with_plugins("doctor", "--json")
    checks = json.loads(shown.stdout)
    assert shown.returncode == 3, checks
    failed = {check["detail"].split("of ")[1].split(" ")[0]: check for check in checks if check["exit_code"] == 3}
    assert set(failed) == set(CULPRITS)
    assert all(check["remedy"] for check in failed.values())


def test_interrupt_while_plugins_load_ends_with_130(ferbench: Ferbench, tmp_path: Path) -> None:
    """Pressed while a plugin is imported; one that raises it without is left out."""
    pip_install(tmp_path / "idle", write_wheel(tmp_path, "ferbench-idle", "raise KeyboardInterrupt\n"))
    shown = ferbench("list", env={"PYTHONPATH": str(tmp_path / "idle")})
    assert (shown.returncode, "KeyboardInterrupt" in shown.stderr) == (0, True)
    pressed = "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n"
    pip_install(tmp_path / "site", write_wheel(tmp_path, "ferbench-slow", pressed))
    shown = ferbench("list", env={"PYTHONPATH": str(tmp_path / "site")})
    assert shown.returncode == 130
    assert shown.stderr.strip().endswith("error: interrupted")


THREAD = """
import sys, threading, time
threading.Thread(target=time.sleep, args=(300,)).start()
"""


def test_a_thread_of_a_plugin_does_not_keep_the_command_alive(ferbench: Ferbench, tmp_path: Path) -> None:
    hook = HEAD + THREAD + "@hookimpl\ndef ferbench_register_heads():\n    pass\n"
    pip_install(tmp_path / "site", write_wheel(tmp_path, "ferbench-thread", hook))
    shown = ferbench("list", "methods", "--json", env={"PYTHONPATH": str(tmp_path / "site")}, timeout=60)
    assert shown.returncode == 0
    assert {"fixmatch"} <= {entry["name"] for entry in json.loads(shown.stdout)}
    assert ferbench("lits", env={"PYTHONPATH": str(tmp_path / "site")}, timeout=60).returncode == 2


def test_who_makes_every_command_wait_is_named(ferbench: Ferbench, tmp_path: Path) -> None:
    slow = "import time\ntime.sleep(2.1)\nprint('loading')\n" + HEAD
    slow += "@hookimpl\ndef ferbench_register_heads():\n    pass\n"
    pip_install(tmp_path / "site", write_wheel(tmp_path, "ferbench-slow", slow))
    shown = ferbench("plugins", "list", env={"PYTHONPATH": str(tmp_path / "site")})
    (row,) = [line for line in shown.stdout.splitlines() if line.startswith("slow ")]
    assert "takes 2." in row and "s to import" in row
    assert (shown.returncode, shown.stderr) == (0, "loading\n")
    checks = json.loads(ferbench("doctor", "--json", env={"PYTHONPATH": str(tmp_path / "site")}).stdout)
    (check,) = [check for check in checks if "'slow'" in check["detail"]]
    assert check["result"] == "warning" and "ferbench-slow" in check["remedy"]


@pytest.mark.parametrize("name", ["Soft", "soft_labels", "-x", "1st", "a/b", "..", "", "none", "method", "losses"])
def test_new_plugin_with_a_bad_name_writes_nothing(ferbench: Ferbench, tmp_path: Path, name: str) -> None:
    made = ferbench("plugins", "new", "method", "--", name)
    assert made.returncode == 2
    assert "plugin name" in made.stderr
    assert list(tmp_path.iterdir()) == []


def test_new_plugin_may_not_take_a_name_in_use(ferbench: Ferbench) -> None:
    made = ferbench("plugins", "new", "method", "fixmatch")
    assert made.returncode == 2
    assert "exists already (of ferbench)" in made.stderr
