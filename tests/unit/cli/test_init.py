"""`ferbench init inspect`."""

import hashlib
import json
from pathlib import Path

import pytest
import torch

from ferbench.cli.main import main
from ferbench.discovery.registry import Registry
from ferbench.execution.build import build_backbone


@pytest.fixture
def file(registry: Registry, tmp_path: Path) -> Path:
    state = build_backbone(registry, "small-resnet/4", 16, None).state_dict()
    path = tmp_path / "x.pth"
    torch.save({"net": {f"encoder.{key}": value for key, value in state.items()} | {"fc.bias": torch.ones(7)}}, path)
    return path


def test_a_file_is_shown_with_its_hash(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "inspect", str(file)]) == 0
    out = capsys.readouterr().out
    assert f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}" in out
    assert "below 'net'" in out
    assert "encoder.stem.0.weight" in out


def test_the_table_has_every_tensor_of_net_and_file(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "inspect", str(file), "--backbone", "small-resnet/4", "--image-size", "16"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["stem.0.weight", "matched"] in rows
    assert ["fc.bias", "left", "over"] in rows


def test_a_file_that_does_not_fit_is_shown_whole_and_ends_with_4(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["init", "inspect", str(file), "--backbone", "small-resnet/8", "--image-size", "16"]
    assert main(command) == 4
    captured = capsys.readouterr()
    assert "stem.0.weight" in captured.out
    assert "4x3x3x3, not 8x3x3x3" in captured.out
    assert captured.err.startswith(f"error: {file}: weights of another width")
    assert main([*command, "--json"]) == 4
    shown = json.loads(capsys.readouterr().out)
    assert (shown["fits"], shown["match"]["prefix"], shown["states"][0]["place"]) == (False, "encoder.", "net")
    assert shown["match"]["misshapen"]["stem.0.weight"] == "4x3x3x3, not 8x3x3x3"
    assert shown["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()


def test_a_file_that_cannot_be_read_ends_with_4(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.pth").write_bytes(b"")
    assert main(["init", "inspect", str(tmp_path / "x.pth")]) == 4
    assert "file is empty" in capsys.readouterr().err
