"""The suites of ablations that are committed beside the methods can be run as they are."""

from pathlib import Path

import pytest

from tests.support.command import call

ROOT = Path(__file__).parents[2]
SUITES = sorted(ROOT.glob("plugins/*/ablations/*.toml"))


@pytest.mark.parametrize("suite", SUITES, ids=lambda path: f"{path.parents[1].name}/{path.stem}")
def test_a_suite_is_a_grid_of_three_or_five_seeds(suite: Path, tmp_path: Path) -> None:
    here = ("--dataset", "synthfaces", "--runs", str(tmp_path / "runs"), "--device", "cpu", "--dry-run")
    done = call("run", "--config", str(suite), *here)
    assert done.code == 0, done.err
    cells = int(done.out.splitlines()[-1].partition(" ")[0])
    assert cells % 3 == 0 or cells % 5 == 0
    assert cells > 0
    assert f"# ferbench run --config {suite.name}" in suite.read_text()


def test_every_method_of_a_paper_has_suites() -> None:
    assert {suite.parents[1].name for suite in SUITES} == {
        "ferbench-ada-cm",
        "ferbench-dtm",
        "ferbench-fr-pretrain-mixup",
        "ferbench-leaf",
    }
