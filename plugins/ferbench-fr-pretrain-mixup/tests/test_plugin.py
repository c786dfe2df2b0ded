"""The plugin from outside: ferbench's own checks, and runs of the real command on the built-in faces."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.support.command import call, succeed

SHORT = ("--backbone", "small-vit/32", "--device", "cpu", "--set", "steps=20", "--set", "pretraining=1")


def trained(runs: Path, row: str, *options: str, **environment: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Record and history of the only cell of a run."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        succeed("run", "--method", row, "--runs", str(runs), *SHORT, *options)
    (record,) = runs.rglob("record.json")
    return json.loads(record.read_text()), json.loads(record.with_name("history.json").read_text())


@pytest.mark.slow
def test_conformance() -> None:
    succeed("plugins", "check", "fr-pretrain-mixup")


@pytest.mark.process
def test_the_hooks_import_nothing_heavy() -> None:
    code = (
        "import sys, ferbench_fr_pretrain_mixup.plugin; "
        "print(sorted({'torch', 'pandas', 'pydantic', 'timm'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_backbone_without_patches_is_refused_when_planning() -> None:
    done = call("run", "--method", "fr-pretrain-mixup", "--ratio", "0.05", "--backbone", "small-resnet", "--dry-run")
    assert done.code == 2
    assert "has no patches" in " ".join((done.out + done.err).split())


@pytest.mark.slow
def test_variants_ratios_and_seeds_share_a_pretraining_that_the_report_shows(tmp_path: Path) -> None:
    cache = {"FERBENCH_CACHE": str(tmp_path / "cache")}
    described, history = trained(tmp_path / "a", "fr-pretrain-mixup", "--ratio", "0.05", **cache)
    released, other = trained(tmp_path / "b", "fr-pretrain-mixup@released", "--ratio", "0.1", "--seed", "1", **cache)
    assert len(list((tmp_path / "cache" / "stages").glob("reconstruct-*.safetensors"))) == 1
    assert [row for row in history if row["stage"] == "reconstruct"] == [
        row for row in other if row["stage"] == "reconstruct"
    ]
    assert "relabeled" in released["result"]["fingerprints"]
    assert "relabeled" not in described["result"]["fingerprints"]

    (record,) = (tmp_path / "a").rglob("record.json")
    succeed("report", str(record))
    page = record.with_name("report.html").read_text()
    assert all(f">{title}<" in page for title in ("masked", "reconstructed", "original"))


@pytest.mark.storm
def test_two_processes_reconstruct_as_one(tmp_path: Path) -> None:
    def run(count: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        options = ("--ratio", "0.05", "--processes", str(count))
        cache = str(tmp_path / f"cache{count}")
        return trained(tmp_path / str(count), "fr-pretrain-mixup", *options, FERBENCH_CACHE=cache)

    (one, alone), (two, shared) = run(1), run(2)
    assert [record["measured"]["processes"] for record in (one, two)] == [1, 2]
    assert two["result"]["image_passes"] == one["result"]["image_passes"]
    losses = [[row["loss"] for row in history if row["stage"] == "reconstruct"] for history in (alone, shared)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
