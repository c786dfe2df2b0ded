"""What another ferbench has written is refused by name, with a command that makes it anew; records are always read."""

import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

from ferbench.conformance.toy_task import toy_training
from ferbench.contract.method import MethodConfig
from ferbench.errors import DataError, FerbenchError
from ferbench.readers.open_stream import open_stream
from ferbench.records.formats import CACHE_FORMAT, CHECKPOINT_FORMAT, FORMAT
from ferbench.records.store import MARKER, RunStore
from ferbench.training.checkpoint import Checkpoint, checkpoint_bytes, read_checkpoint, write_checkpoint
from ferbench.training.loop import train
from tests.support.archives import describe, face, png, write_tar
from tests.support.command import call, succeed
from tests.support.pattern_set import CLASSES, bar_image
from tests.unit.records.factory import make_cell, write_record
from tests.unit.training.pretrained import Pretrained

SMALL = ("--method=supervised", "--ratio=0.5", "--device=cpu", "--backbone=small-resnet/4")
TINY = (*SMALL, "--set=steps=20", "--set=image_size=16", "--set=labeled_batch=4")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("FERBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def as_of_0_1(path: Path) -> None:
    """Take the number of the format away, as 0.1 wrote none."""
    value = json.loads(path.read_text())
    assert value.pop(FORMAT) == CACHE_FORMAT
    path.write_text(json.dumps(value))


def follow(message: str) -> None:
    """Do what a message says: remove a folder, or give a command."""
    if removed := re.search(r"\(rm (?:-r )?([^)]*)\)", message):
        (path,) = map(Path, shlex.split(removed[1]))
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    else:
        found = re.search(r"`ferbench ([^`]*)`", message)
        assert found, message
        succeed(*shlex.split(found[1]))


@pytest.mark.slow
def test_a_packed_folder(patterns: Path, tmp_path: Path, cache: Path) -> None:
    command = ("run", "--dataset", str(patterns), "--runs", str(tmp_path / "runs"), *TINY)
    succeed(*command)
    (folder,) = (cache / "packed").glob("patterns-16px-*")
    as_of_0_1(folder / "meta.json")
    refused = call(*command)
    assert (refused.code, refused.err.count("\n")) == (4, 1)
    assert str(folder) in refused.err and "ferbench 0.1" in refused.err
    follow(refused.err)
    assert "1 cached, 0 to run" in succeed(*command)


@pytest.mark.process
def test_a_prepared_copy(tmp_path: Path, cache: Path) -> None:
    root = tmp_path / "my photos"
    for split, n in (("train", 8), ("test", 3)):
        for kind, name in enumerate(CLASSES):
            (root / split / name).mkdir(parents=True)
            for i in range(n):
                bar_image(kind, np.random.default_rng([kind, i, n])).save(root / split / name / f"{i}.png")
    succeed("prepare", "image-folder", "--root", str(root), "--name", "mine")
    for path in (cache / "prepared/mine/source.json", *(cache / "packed").glob("mine-*/meta.json")):
        as_of_0_1(path)
    command = ("run", "--dataset", "mine", "--runs", str(tmp_path / "runs"), *TINY)
    refused = call(*command)
    assert refused.code == 4, refused.err
    assert "source.json" in refused.err
    follow(refused.err)
    succeed(*command)


@pytest.mark.process
def test_the_index_of_a_stream(patterns: Path, tmp_path: Path, cache: Path) -> None:
    folder = describe(tmp_path / "crowd", "webdataset")
    write_tar(folder / "0.tar", [png(face(i)) for i in range(8)])
    pool = ("--protocol=external-v1", "--unlabeled", str(folder), "--set=unlabeled_batch=4")
    command = ("run", "--dataset", str(patterns), "--runs", str(tmp_path / "runs"), *TINY, *pool, "--method=fixmatch")
    assert open_stream(folder).info.name == "crowd"
    succeed(*command, "--executor=inline")
    (index,) = (path for path in (cache / "streams").glob("crowd-*") if path.is_dir())
    as_of_0_1(index / "meta.json")
    refused = call(*command, "--executor=inline")
    assert refused.code == 4
    assert str(index) in refused.err
    follow(refused.err)
    succeed(*command, "--executor=inline")


@pytest.mark.slow
def test_a_checkpoint_is_refused_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    training = toy_training(Pretrained(MethodConfig()), tmp_path)
    training.stop = lambda: FerbenchError("stop")
    with pytest.raises(FerbenchError, match="stop"):
        train(training)
    found = read_checkpoint(path)
    assert found.state[FORMAT] == CHECKPOINT_FORMAT
    del found.state[FORMAT]
    path.write_bytes(checkpoint_bytes(found))
    before = path.read_bytes()
    with pytest.raises(DataError, match=re.escape(f"rm {path}")) as caught:
        train(toy_training(Pretrained(MethodConfig()), tmp_path))
    assert path.read_bytes() == before
    follow(str(caught.value))
    (tmp_path / "checkpoint-before.safetensors").unlink()
    assert train(toy_training(Pretrained(MethodConfig()), tmp_path)).resumed == 0


@pytest.mark.slow
def test_a_cached_stage_is_refused(tmp_path: Path) -> None:
    train(toy_training(Pretrained(MethodConfig()), tmp_path / "a"))
    (stage,) = (tmp_path / "a" / "stages").glob("fill-*.safetensors")
    write_checkpoint(stage, Checkpoint({}, {FORMAT: CHECKPOINT_FORMAT + 1}))
    for path in (tmp_path / "a").glob("checkpoint*.safetensors"):
        path.unlink()
    with pytest.raises(DataError, match=f"format {CHECKPOINT_FORMAT + 1}"):
        train(toy_training(Pretrained(MethodConfig()), tmp_path / "a"))


@pytest.mark.slow
def test_a_folder_of_runs(patterns: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    command = ("run", "--dataset", str(patterns), "--runs", str(runs), *TINY)
    succeed(*command)
    (runs / MARKER).write_text(json.dumps({FORMAT: 99}))
    assert "1 cached, 0 to run" in succeed(*command), "records are read whatever the folder says"
    refused = call(*command, "--seed=1")
    assert refused.code != 0
    assert str(runs / MARKER) in refused.out + refused.err
    # A folder of 0.1 has no marker; its records are read and further cells join them.
    (runs / MARKER).unlink()
    write_record(runs, make_cell(seed=7))
    assert "2 done" in succeed("status", "--runs", str(runs))
    succeed(*command, "--seed=1")
    assert json.loads((runs / MARKER).read_text()) == {FORMAT: 1}
    assert len(list(RunStore(runs).iterate())) == 3
