"""Every kind of file that ferbench writes and reads again, with bytes changed: read as it was written, or refused.

Of each kind many mutations are tried; whoever reads must give the original content or one of ferbench's own errors.
"""

import os
import random
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from ferbench.builtin.methods.fixmatch import FixMatch
from ferbench.conformance.toy_task import toy_training
from ferbench.contract.dataset import DatasetInfo
from ferbench.data.cache import write_sealed
from ferbench.data.load.image_store import ImageStore
from ferbench.data.prepare.face_boxes import boxes_path, read_boxes
from ferbench.data.prepare.pack import ensure_packed
from ferbench.data.prepare.registered_copies import Prepared, prepared_folder, read_prepared, write_prepared
from ferbench.data.prepare.stream_index import StreamIndex, ensure_index
from ferbench.data.select.near_duplicates import known_overlap, source_rows
from ferbench.errors import FerbenchError
from ferbench.readers.open_stream import open_stream
from ferbench.readers.parquet import ParquetDataset
from ferbench.records.in_progress import IN_PROGRESS, said_file, snapshot_file
from ferbench.records.tensor_files import read_arrays
from ferbench.training.checkpoint import before, read_checkpoint
from ferbench.training.loop import train
from ferbench.training.stage_cache import StageCache
from tests.support.archives import describe, face, png, write_tar
from tests.support.pattern_set import CLASSES, write_pattern_set
from tests.support.stopped_runs import train_until_stopped
from tests.unit.training.pretrained import Pretrained

KINDS = (
    "pixels", "manifest", "meta of a packed set", "index of a stream", "meta of a stream", "overlap", "boxes",
    "prepared copy", "checkpoint", "checkpoint before", "what was said", "snapshot", "cached stage",
)  # fmt: skip
MUTATIONS = 50
SIZE = 16
pytestmark = pytest.mark.process  # an index is made by several
Reader = tuple[Path, Callable[[], object]]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Reader]]:
    """By kind a file, and what reads it and gives its content in a form that can be compared."""
    root = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FERBENCH_CACHE", str(root))
        yield {**packed_files(root), **training_files(root / "toy")}


def packed_files(root: Path) -> dict[str, Reader]:
    dataset = ParquetDataset(write_pattern_set(root / "set", name="set"))
    folder = ensure_packed(dataset, SIZE)
    pool = describe(root / "crowd", "webdataset")
    write_tar(pool / "0.tar", [png(face(i)) for i in range(12)])
    index = ensure_index(open_stream(pool), SIZE).folder

    def packed() -> object:
        store = ImageStore(folder)
        return store.fingerprint, store.ids, store.labels, store.splits, store.images[:].tobytes()

    def stream() -> object:
        found = StreamIndex(open_stream(pool), index)
        return found.fingerprint, found.ids.to_pylist(), found.reader.images(np.arange(len(found))).tobytes()

    def overlap() -> object:
        found = StreamIndex(open_stream(pool), index)
        return {
            k: v.tolist()
            for k, v in asdict(known_overlap(found, source_rows(found), ImageStore(folder), [0, 1])).items()
        }

    overlap()
    info = DatasetInfo("mine", "Mine", "CC0", {"3": CLASSES}, "3", "synthfaces")
    write_prepared(
        Prepared(
            name="mine", reader="image-folder", root=root, crop=0.1, on_bad_record="stop", source_digest="x", info=info
        )
    )
    write_sealed(boxes_path("mine", "x"), {"boxes": {"a": [0.1, 0.2, 0.3, 0.4], "b": None}})
    return {
        "pixels": (next(folder.glob("part-*.npy")), packed),
        "manifest": (folder / "manifest.parquet", packed),
        "meta of a packed set": (folder / "meta.json", packed),
        "index of a stream": (index / "images.arrow", stream),
        "meta of a stream": (index / "meta.json", stream),
        "overlap": (next(index.glob("overlap-*.json")), overlap),
        "boxes": (boxes_path("mine", "x"), lambda: read_boxes("mine", "x")),
        "prepared copy": (prepared_folder("mine") / "source.json", lambda: read_prepared("mine")),
    }


def training_files(folder: Path) -> dict[str, Reader]:
    training = train_until_stopped(toy_training(FixMatch(FixMatch.Config()), folder), 15)
    stages = StageCache(folder / "stages", {})
    train(toy_training(Pretrained(Pretrained.Config()), folder / "other", stage_cache=stages))
    said = said_file(folder / IN_PROGRESS, 1)
    snapshot = min(snapshot_file(folder / IN_PROGRESS, 1).parent.glob("*"))
    paths = {
        "checkpoint": training.checkpoint_path,
        "checkpoint before": before(training.checkpoint_path),
        "snapshot": snapshot,
        "cached stage": next((folder / "stages").glob("*.safetensors")),
    }
    arrays = (said, lambda: {name: value.tolist() for name, value in read_arrays(said).items()})
    return {name: (path, partial(tensors, path)) for name, path in paths.items()} | {"what was said": arrays}


def tensors(path: Path) -> object:
    found = read_checkpoint(path)
    return found.state, {name: value.tolist() for name, value in found.tensors.items()}


def mutated(content: bytes, random: random.Random) -> bytes:
    """Bits flipped, bytes lost, doubled, zeroed, put in or exchanged."""
    place, length = random.randrange(len(content)), random.randint(1, 40)
    rest = content[place + length :]
    kind = random.randrange(7)
    if kind == 0:
        return content[:place] + bytes([content[place] ^ 1 << random.randrange(8)]) + content[place + 1 :]
    if kind == 1:
        return content[:place]
    if kind == 2:
        return content[:place] + rest
    if kind == 3:
        return content[:place] + content[place : place + length] * 2 + rest
    if kind == 4:
        return content[:place] + bytes(len(content[place : place + length])) + rest
    if kind == 5:
        return content[:place] + random.randbytes(length) + content[place:]
    return rest + content[: place + length]


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_file_is_read_as_it_was_or_refused(files: dict[str, Reader], kind: str) -> None:
    path, read = files[kind]
    content, expected = path.read_bytes(), read()
    for number in range(MUTATIONS):
        changed = mutated(content, random.Random(f"{kind} {number}"))
        write(path, changed, number)
        found = outcome(read)
        write(path, content, -1)
        if isinstance(found, FerbenchError):
            assert str(path) in str(found) or str(path.parent) in str(found), number
        else:
            assert found == expected, number
    assert read() == expected


def outcome(read: Callable[[], object]) -> object:
    """What is read, or the error."""
    try:
        return read()
    except FerbenchError as error:
        return error


def write(path: Path, content: bytes, number: int) -> None:
    """Write a file, as of a moment of its own: a file system's clock is coarser than this test is fast."""
    path.write_bytes(content)
    os.utime(path, ns=(0, 10**9 * (number + 2)))
