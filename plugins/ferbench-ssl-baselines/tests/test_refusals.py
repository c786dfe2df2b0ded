"""What cannot be run is refused before anything trains, by name and with a way out."""

from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file
from tests.support.archives import describe
from tests.support.command import call
from tests.support.pattern_set import write_pattern_set

from ferbench.builtin.backbones.small_resnet import build
from ferbench.contract.backbone import BackboneRequest

SHORT = ("--set", "steps=20", "--set", "image_size=16", "--device", "cpu", "--backbone", "small-resnet/4")


@pytest.fixture(scope="module")
def patterns(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A set of 120 training images, of which 12 are labeled at 10 %."""
    return str(write_pattern_set(tmp_path_factory.mktemp("sets") / "patterns"))


def run(folder: Path, method: str, patterns: str, *more: str) -> Any:
    arguments = ("--method", method, "--dataset", patterns, "--ratio", "0.1", "--runs", str(folder / "runs"))
    return call("run", *arguments, *SHORT, *more)


def test_a_memory_larger_than_the_pool(patterns: str, tmp_path: Path) -> None:
    done = run(tmp_path, "comatch", patterns)
    assert done.code == 2
    for part in ("method 'comatch'", "memory of 2560 images", "--set comatch.memory=N", "has 108 images"):
        assert part in done.err
    assert not (tmp_path / "runs").exists()
    done = run(tmp_path, "comatch", patterns, "--set", "comatch.memory=109")
    assert done.code == 2 and "memory of 109 images" in done.err


@pytest.mark.parametrize("method", ["noisy-student", "crest"])
def test_a_stream_whose_images_have_no_places(method: str, patterns: str, tmp_path: Path) -> None:
    crowd = str(describe(tmp_path / "crowd", "folder"))
    done = run(tmp_path, method, patterns, "--unlabeled", crowd, "--protocol", "external-v1", "--dry-run")
    assert done.code == 2
    assert f"method '{method}'" in done.err and "'crowd' is a stream" in done.err


@pytest.mark.parametrize("method", ["comatch", "simmatch"])
def test_a_memory_of_labeled_or_of_the_newest_images_takes_a_stream(method: str, patterns: str, tmp_path: Path) -> None:
    crowd = str(describe(tmp_path / "crowd", "folder"))
    done = run(tmp_path, method, patterns, "--unlabeled", crowd, "--protocol", "external-v1", "--dry-run")
    assert done.code == 0, done.err


@pytest.mark.parametrize("method", ["bitfit", "lora@strong"])
def test_a_transfer_row_without_initial_weights(method: str, patterns: str, tmp_path: Path) -> None:
    done = run(tmp_path, method, patterns, "--dry-run")
    assert done.code == 2
    assert f"method '{method.partition('@')[0]}' needs initial weights" in done.err
    assert "name them with --init" in done.err
    weights = tmp_path / "weights.safetensors"
    save_file(build(BackboneRequest("4", 16)).state_dict(), weights)
    assert run(tmp_path, method, patterns, "--dry-run", "--init", str(weights)).code == 0
