"""Streams: every image once per pass, the same order from any step, what is damaged named, errors of workers whole."""

import hashlib
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ferbench.conformance.toy_task import unlabeled_toys
from ferbench.data.load.image_store import ImageStore
from ferbench.data.load.stream import Stream, StreamLoader, WindowOrder
from ferbench.data.prepare import stream_index
from ferbench.data.prepare.pack import ensure_packed
from ferbench.data.prepare.stream_index import StreamIndex, ensure_index, index_folder
from ferbench.data.select.unlabeled_pool import open_unlabeled_pool
from ferbench.errors import DataError
from ferbench.readers.folders import FolderStream
from ferbench.readers.open_stream import open_stream
from ferbench.readers.parquet import ParquetDataset
from tests.support.archives import describe, face, labeled, png, record, write_records, write_tar
from tests.support.refusals import refused

CPU = torch.device("cpu")
N = 50

pytestmark = pytest.mark.process


@pytest.fixture
def crowd(tmp_path: Path) -> Path:
    """50 faces of 16 pixels in three shards."""
    folder = describe(tmp_path / "crowd", "webdataset")
    for shard, first in enumerate((0, 20, 40)):
        write_tar(folder / f"{shard}.tar", [png(face(i)) for i in range(first, min(first + 20, N))], first)
    return folder


def stream_of(index: StreamIndex) -> Stream:
    return Stream(index, np.arange(len(index)), CPU)


def test_a_pass_has_every_position_once() -> None:
    order = WindowOrder(103, 10, seed=1, block=8, window=3)
    drawn = torch.cat([order.at(step) for step in range(103)])  # ten passes, each cut somewhere by a batch
    for k in range(10):
        assert sorted(drawn[k * 103 : (k + 1) * 103].tolist()) == list(range(103))
    assert not torch.equal(drawn[:103], drawn[103:206])


def test_the_order_of_a_step_needs_no_history() -> None:
    order = WindowOrder(1000, 7, seed=3, block=16, window=4)
    expected = [order.at(step) for step in range(400)]
    for step in (399, 0, 142, 143, 7):
        assert torch.equal(WindowOrder(1000, 7, seed=3, block=16, window=4).at(step), expected[step])
        assert torch.equal(order.at(step), expected[step])
    assert not torch.equal(WindowOrder(1000, 7, seed=4, block=16, window=4).at(0), expected[0])


def test_near_steps_read_near_places() -> None:
    """A window touches few blocks, so that a disk reads on rather than seeks; yet neighbours are not drawn together."""
    order = WindowOrder(100_000, 64, seed=0, block=256, window=64)
    window = torch.cat([order.at(step) for step in range(256)])
    assert len(set((window // 256).tolist())) == 64
    together = (window[1:] - window[:-1]).abs() < 256
    assert together.float().mean() < 0.05


def test_a_pool_smaller_than_a_batch_is_repeated() -> None:
    assert Counter(WindowOrder(3, 12, seed=0).at(5).tolist()) == {0: 4, 1: 4, 2: 4}


def test_the_index_has_what_pil_and_hashlib_say(crowd: Path) -> None:
    index = ensure_index(open_stream(crowd), 16)
    assert [str(name) for name in index.ids] == [f"{i // 20}.tar/{i:06d}.jpg" for i in range(N)]
    pixels = np.concatenate([chunk.pixels for chunk in index.hashes()])
    expected = [hashlib.sha256(np.asarray(face(i)).tobytes()).digest() for i in range(N)]
    assert [row.tobytes() for row in pixels] == expected
    assert (len(index), index.damaged) == (N, 0)


def test_steps_have_the_images_of_their_positions(crowd: Path) -> None:
    loader = StreamLoader(stream_of(ensure_index(open_stream(crowd), 16)), 8, seed=0, steps=20)
    rng = torch.get_rng_state()
    for step in (0, 1, 2, 11, 12, 5):
        drawn = loader.at(step)
        assert torch.equal(drawn.index, WindowOrder(N, 8, seed=0).at(step))
        expected = np.stack([np.asarray(face(int(i))) for i in drawn.index])
        assert np.array_equal(drawn.images.numpy(), expected)
        assert drawn.boxes.shape == (8, 4)
    assert torch.equal(torch.get_rng_state(), rng), "the run's own draws must not depend on when workers start"
    assert loader.take_waited() > 0
    assert loader.take_waited() == 0


def test_images_in_memory_come_first(crowd: Path) -> None:
    pool = unlabeled_toys(5, 1)
    stream = replace(stream_of(ensure_index(open_stream(crowd), 16)), packed=pool)
    assert len(stream) == N + 15
    loader = StreamLoader(stream, 65, seed=0, steps=1)
    drawn = loader.at(0)
    assert sorted(drawn.index.tolist()) == list(range(65))
    for place, position in enumerate(drawn.index.tolist()):
        stored = pool.images[position].numpy() if position < 15 else np.asarray(face(position - 15))
        assert np.array_equal(drawn.images[place].numpy(), stored)
    inside = drawn.index < 15
    assert torch.equal(drawn.boxes[inside], pool.boxes[drawn.index[inside]])
    numbers = torch.arange(N + 15).flip(0)
    numbered = StreamLoader(replace(stream, numbers=numbers), 65, seed=0, steps=1).at(0)
    assert torch.equal(numbered.images, drawn.images)
    assert torch.equal(numbered.index, numbers[drawn.index])


def cut_records(folder: Path, **more: str) -> Path:
    describe(folder, "recordio", **more)
    contents = [png(face(i)) for i in range(8)]
    contents[2] = contents[2][:200]
    offsets = write_records(folder / "train.rec", [(k, record(labeled(c, k))) for k, c in enumerate(contents)])
    (folder / "train.rec").write_bytes((folder / "train.rec").read_bytes()[: offsets[6] + 90])
    return folder


def test_archives_that_are_cut_short_stop_the_run_before_it_decodes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = open_stream(cut_records(tmp_path / "cut", name="cut"))
    monkeypatch.setattr(stream_index, "_hash", None)
    with pytest.raises(DataError) as caught:
        ensure_index(dataset, 16)
    assert "1 damaged image(s)" in str(caught.value)
    assert "train.rec, record 7: the file is truncated before this record" in str(caught.value)
    assert '"on_bad_record": "skip"' in str(caught.value)
    assert not index_folder(dataset, 16).exists()


def test_images_that_cannot_be_decoded_stop_the_run_with_all_their_names(tmp_path: Path) -> None:
    folder = describe(tmp_path / "cut", "folder", name="cut")
    for i in range(6):
        (folder / f"{i}.png").write_bytes(png(face(i))[: 60 if i % 2 else None])
    with pytest.raises(DataError) as caught:
        ensure_index(open_stream(folder), 16)
    assert "3 damaged image(s)" in str(caught.value)
    for i in (1, 3, 5):
        assert f"record {i}.png: " in str(caught.value)


def test_damaged_records_are_skipped_where_that_is_asked_for(tmp_path: Path) -> None:
    index = ensure_index(open_stream(cut_records(tmp_path / "skip", name="skip", on_bad_record="skip")), 16)
    assert [str(name) for name in index.ids] == [f"train.rec/{key}" for key in (0, 1, 3, 4, 5)]
    assert index.damaged == 3
    lines = (index.folder / "damaged.txt").read_text().splitlines()
    assert sorted(line.partition(":")[0] for line in lines) == [f"train.rec, record {key}" for key in (2, 6, 7)]
    drawn = StreamLoader(stream_of(index), 5, seed=0, steps=1).at(0)
    stored = {0: 0, 1: 1, 2: 3, 3: 4, 4: 5}
    assert all(
        np.array_equal(image, np.asarray(face(stored[int(i)])))
        for image, i in zip(drawn.images.numpy(), drawn.index, strict=True)
    )


def test_a_set_that_nobody_described_is_asked_for_in_another_way(tmp_path: Path) -> None:
    (tmp_path / "faces").mkdir()
    for i in range(3):
        (tmp_path / "faces" / f"{i}.png").write_bytes(png(face(i))[: 60 if i == 1 else None])
    dataset = FolderStream(tmp_path / "faces", "mine")
    with refused(DataError, "1.png", "ferbench prepare"):
        ensure_index(dataset, 16)
    dataset.on_bad_record = "skip"
    index = ensure_index(dataset, 16)
    assert (index.ids.to_pylist(), index.damaged) == (["0.png", "2.png"], 1)


def test_a_file_larger_than_any_image_stops_or_is_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "faces"
    folder.mkdir()
    (folder / "good.png").write_bytes(png(face(1)))
    with (folder / "big.jpg").open("wb") as file:
        file.truncate(2**43)  # what is not written takes no room
    dataset = FolderStream(folder, "mine")
    with refused(DataError, "big.jpg", 2**43):
        ensure_index(dataset, 16)
    dataset.on_bad_record = "skip"
    index = ensure_index(dataset, 16)
    assert (index.ids.to_pylist(), index.damaged) == (["good.png"], 1)


def test_a_set_without_one_good_image_says_so(tmp_path: Path) -> None:
    folder = describe(tmp_path / "crowd", "folder", on_bad_record="skip")
    for i in range(3):
        (folder / f"{i}.jpg").write_bytes(b"not an image")
    with pytest.raises(DataError, match="no images found"):
        ensure_index(open_stream(folder), 16)


def test_names_that_would_drive_a_terminal_are_damage(tmp_path: Path) -> None:
    folder = describe(tmp_path / "crowd", "folder", on_bad_record="skip")
    for name in ("good.png", "\x1b[31mred.png", "two\nlines.png", "latin-\udcff.png"):
        (folder / name).write_bytes(png(face(1)))
    index = ensure_index(open_stream(folder), 16)
    assert index.ids.to_pylist() == ["good.png"]
    damaged = (index.folder / "damaged.txt").read_text().splitlines()
    assert len(damaged) == 3
    assert all(line.isprintable() and "not printable text" in line for line in damaged)


def test_a_link_out_whose_name_is_no_text_is_damage(tmp_path: Path) -> None:
    folder = describe(tmp_path / "crowd", "folder", on_bad_record="skip")
    (folder / "good.png").write_bytes(png(face(1)))
    (tmp_path / "out.png").write_bytes(png(face(2)))
    (folder / "latin-\udcff.png").symlink_to(tmp_path / "out.png")
    index = ensure_index(open_stream(folder), 16)
    assert index.ids.to_pylist() == ["good.png"]
    assert "leads out of" in (index.folder / "damaged.txt").read_text()


def test_what_is_left_out_is_told(patterns: Path, tmp_path: Path) -> None:
    test = ImageStore(ensure_packed(ParquetDataset(patterns), 16))
    pool = open_unlabeled_pool(open_stream(cut_records(tmp_path / "told", name="told", on_bad_record="skip")), test)
    (text,) = pool.left_out()
    assert text.startswith("3 damaged record(s) are left out; ")
    assert Path(text.split()[6]).is_file()


def test_a_record_that_changes_later_stops_the_run_by_name(crowd: Path) -> None:
    index = ensure_index(open_stream(crowd), 16)
    with (crowd / "1.tar").open("r+b") as file:
        file.truncate(3000)
    loader = StreamLoader(stream_of(index), N, seed=0, steps=1)
    with refused(DataError, "'crowd'", "1.tar", ".jpg"):
        loader.at(0)


def test_another_image_in_the_place_of_an_indexed_one_stops_the_run_by_name(tmp_path: Path) -> None:
    folder = describe(tmp_path / "crowd", "folder")
    for i in range(3):
        (folder / f"{i}.png").write_bytes(png(face(i)))
    index = ensure_index(open_stream(folder), 16)
    (folder / "1.png").write_bytes(png(face(9)))
    with refused(DataError, "'crowd'", "1.png", str(index.folder)):
        index.reader.images(np.arange(3))


def test_a_stream_is_compared_with_the_test_split(patterns: Path, tmp_path: Path) -> None:
    test = ImageStore(ensure_packed(ParquetDataset(patterns), 16))
    stolen = [s.image for s in ParquetDataset(patterns).samples() if s.split == "test"][3]
    assert isinstance(stolen, bytes)
    folder = describe(tmp_path / "thief", "folder", name="thief")
    for i in range(3):
        (folder / f"{i}.png").write_bytes(png(face(i)))
    kept = open_unlabeled_pool(open_stream(folder), test)
    assert (kept.rows.tolist(), kept.near_duplicates) == ([0, 1, 2], 0)
    (folder / "stolen.png").write_bytes(stolen)
    with refused(DataError, "'patterns'", "stolen.png"):
        open_unlabeled_pool(open_stream(folder), test)


def test_the_fingerprint_is_that_of_ids_and_pixels(crowd: Path) -> None:
    text = "".join(
        json.dumps([f"{i // 20}.tar/{i:06d}.jpg", hashlib.sha256(np.asarray(face(i)).tobytes()).hexdigest()])
        for i in range(N)
    )
    assert ensure_index(open_stream(crowd), 16).fingerprint == hashlib.sha256(text.encode()).hexdigest()
