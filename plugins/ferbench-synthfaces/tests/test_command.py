import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from ferbench.errors import InterruptedRun, PluginError, UsageError
from ferbench.readers.parquet import ParquetDataset
from ferbench_synthfaces.command import synthfaces


def render(*options: str):
    return CliRunner().invoke(synthfaces, ["render", *options])


@pytest.fixture
def renderer() -> None:
    """Skip where the optional dependency of the renderer is missing."""
    pytest.importorskip("numba")


@pytest.mark.usefixtures("renderer")
def test_a_tiny_set_from_end_to_end(tmp_path: Path) -> None:
    out = tmp_path / "My Faces"
    result = render("--n", "8", "--n-pool", "3", "--size", "32", "--seed", "7", "--workers", "1", "--out", str(out))
    assert result.exit_code == 0, result.output
    assert "8 train, 2 test, 3 unlabeled" in result.output
    dataset = ParquetDataset(out)
    assert dataset.info.name == "my-faces"
    assert len(list(dataset.samples())) == 13
    again = render("--n", "8", "--workers", "1", "--out", str(out))
    assert isinstance(again.exception, UsageError)


@pytest.mark.usefixtures("renderer")
@pytest.mark.parametrize("options", [["--n", "0"], ["--name", "Bad Name"]])
def test_nonsense_is_refused_in_one_line(tmp_path: Path, options: list[str]) -> None:
    result = render(*options, "--out", str(tmp_path / "x"))
    assert isinstance(result.exception, UsageError)
    assert "\n" not in str(result.exception)
    assert not (tmp_path / "x").exists()


def test_without_numba_the_message_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("ferbench_synthfaces.render.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "numba", None)
    result = render("--out", str(tmp_path / "x"))
    assert isinstance(result.exception, PluginError)
    assert "pip install -e 'plugins/ferbench-synthfaces[render]'" in str(result.exception)


@pytest.mark.usefixtures("renderer")
def test_an_interrupt_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ferbench_synthfaces.render.render_set.render_set", interrupted)
    result = render("--n", "4", "--out", str(tmp_path / "x"))
    assert isinstance(result.exception, InterruptedRun)
    assert "repeat the command" in str(result.exception)


@pytest.mark.process
def test_the_hooks_import_nothing_heavy() -> None:
    code = (
        "import sys, ferbench_synthfaces.plugin as plugin\n"
        "found = []\n"
        "plugin.ferbench_register_datasets(lambda *names, **rest: found.append(names))\n"
        "plugin.ferbench_register_commands(lambda *names, **rest: found.append(names))\n"
        "assert [name for name, _ in found] == ['synthfaces', 'synthfaces-fr', 'synthfaces'], found\n"
        "print(sorted({'numpy', 'numba', 'pyarrow', 'PIL', 'torch', 'pandas'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
