"""Files of weights: what is read of them, and what is refused without being executed."""

import pickle
import random
import shlex
import subprocess
import sys
import warnings
from argparse import Namespace
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from ferbench.errors import DataError
from ferbench.weights import read_states
from tests.support.refusals import refused

STATE = {"a.weight": torch.arange(12.0).reshape(4, 3), "a.bias": torch.ones(4)}


def is_state(found: Any) -> bool:
    return set(found) == set(STATE) and all(torch.equal(found[key], STATE[key]) for key in STATE)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("place", ["", "model", "model_state_dict", "state_dict", "net", "ema", "a.b.c"])
def test_a_state_dict_is_found_where_it_lies(tmp_path: Path, place: str, zipped: bool) -> None:
    content: Any = OrderedDict(STATE)
    for key in reversed(place.split(".") if place else []):
        content = {"epoch": 3, "name": "resnet", key: content}
    torch.save(content, tmp_path / "x.pth.tar", _use_new_zipfile_serialization=zipped)
    states = read_states(tmp_path / "x.pth.tar")
    assert list(states) == [place]
    assert is_state(states[place])


def test_safetensors_are_known_by_their_content(tmp_path: Path) -> None:
    safetensors.torch.save_file(STATE, tmp_path / "x.pth")
    assert is_state(read_states(tmp_path / "x.pth")[""])


def test_of_several_states_the_usual_stand_first(tmp_path: Path) -> None:
    optimizer = torch.optim.Adam([nn.Parameter(torch.ones(2))])
    optimizer.param_groups[0]["params"][0].sum().backward()
    optimizer.step()
    torch.save({"odd": STATE, "ema": STATE, "opt": optimizer.state_dict(), "model": STATE}, tmp_path / "x.pth")
    assert list(read_states(tmp_path / "x.pth")) == ["model", "ema", "odd"]


class Touches:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("executed"),))  # type: ignore[return-value]


def test_nothing_of_a_file_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": STATE, "args": Touches()}, "zip.pth")
    torch.save({"state_dict": STATE, "args": Touches()}, "old.pth", _use_new_zipfile_serialization=False)
    Path("bare.pkl").write_bytes(pickle.dumps(Touches()))
    for name in ("zip.pth", "old.pth", "bare.pkl"):
        with refused(DataError, name, "does not unpickle", "python -c"):
            read_states(Path(name))
    assert not Path("executed").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ["empty"]),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", ["Git LFS", "git lfs pull"]),
        (b"\n<!DOCTYPE html><title>Google Drive</title>", ["web page", "download"]),
        (b"\x89HDF\r\n\x1a\n", ["torch.save(model.state_dict(), FILE)"]),
        (b"PK\x03\x04 cut off", ["damaged", "download"]),
        (b"\x10\x00\x00\x00\x00\x00\x00\x00{cut off", ["safetensors file is damaged"]),
    ],
)
def test_another_file_is_named_with_a_remedy(tmp_path: Path, content: bytes, words: list[str]) -> None:
    (tmp_path / "x.pth").write_bytes(content)
    with refused(DataError, tmp_path / "x.pth", *words):
        read_states(tmp_path / "x.pth")


@pytest.mark.parametrize("content", [{"epoch": 3}, [1, 2], torch.ones(3), {1: torch.ones(2)}])
def test_a_file_without_a_state_dict_is_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "x.pth")
    with refused(DataError, tmp_path / "x.pth", "no named tensors"):
        read_states(tmp_path / "x.pth")


def test_names_that_would_drive_a_terminal_are_refused(tmp_path: Path) -> None:
    torch.save({"a\x1b[2Jb": torch.ones(2)}, tmp_path / "x.pth")
    with refused(DataError, tmp_path / "x.pth", "characters"):
        read_states(tmp_path / "x.pth")


@pytest.mark.process
def test_the_command_of_a_refusal_makes_a_file_that_is_read(tmp_path: Path) -> None:
    net = nn.Sequential(OrderedDict(a=nn.Linear(3, 4)))
    net.load_state_dict(STATE)
    torch.save({"state_dict": STATE, "args": Namespace(lr=1), "epoch": 1}, tmp_path / "it's args.pth")
    torch.save({"epoch": 2, "model": net}, tmp_path / "whole.pth")
    with warnings.catch_warnings(action="ignore"):
        torch.jit.script(net).save(tmp_path / "script.pt")
    arrays = {key: value.numpy() for key, value in STATE.items()}
    (tmp_path / "arrays.pkl").write_bytes(pickle.dumps(arrays))
    names, codes = ("it's args.pth", "whole.pth", "script.pt", "arrays.pkl"), []
    for name in names:
        with pytest.raises(DataError) as caught:
            read_states(tmp_path / name)
        codes += shlex.split(str(caught.value)[str(caught.value).index("python -c") :])[2:]
    # One process for all: each would import torch.
    subprocess.run([sys.executable, "-c", "\n".join(codes)], check=True, cwd=tmp_path)
    for name in names:
        (state,) = read_states(tmp_path / f"{name}.tensors.pth").values()
        assert is_state(state)


@pytest.mark.fuzz
def test_damaged_files_are_read_or_refused_in_one_line(tmp_path: Path) -> None:
    torch.save({"state_dict": STATE}, tmp_path / "zip")
    torch.save({"state_dict": STATE}, tmp_path / "old", _use_new_zipfile_serialization=False)
    safetensors.torch.save_file(STATE, tmp_path / "safe")
    draw = random.Random(0)
    refusals: list[str] = []
    for name in ("zip", "old", "safe"):
        whole = (tmp_path / name).read_bytes()
        for number in range(200):
            damaged = bytearray(whole[: draw.randrange(1, len(whole))] if number % 3 == 0 else whole)
            for _ in range(draw.randrange(1, 6)):
                damaged[draw.randrange(len(damaged))] = draw.randrange(256)
            path = tmp_path / f"{name}-{number}"
            path.write_bytes(damaged)
            try:
                read_states(path)
            except DataError as error:
                refusals.append(str(error))
    assert len(refusals) > 100
    assert all(text.startswith(str(tmp_path)) and "\n" not in text for text in refusals)


def test_numbers_beside_tensors_are_left(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(2, dtype=torch.float16), "best": 81.5}, tmp_path / "x.pth")
    assert list(read_states(tmp_path / "x.pth")[""]) == ["w"]
    torch.save({"w": torch.ones(2), "best": np.float64(81.5)}, tmp_path / "x.pth")
    with refused(DataError, "other than tensors", "python -c"):
        read_states(tmp_path / "x.pth")
