"""What was decoded is kept: interruptions, repaired and changed images, processes, files outside the root."""

import errno
import fcntl
import hashlib
import io
import json
import os
import resource
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ferbench.contract.dataset import Damage, Dataset, DatasetInfo, Sample
from ferbench.data.load.image_store import ImageStore
from ferbench.data.prepare import writer as packing
from ferbench.data.prepare.pack import (
    DamagedImages,
    DecodingProgress,
    ensure_packed,
    find_packed,
    inspect,
    packed_folder,
    read_inspection,
)
from ferbench.errors import DataError
from tests.support.refusals import refused

SIZE = 16
CLASSES = ("neutral", "happiness")


class Faces(Dataset):
    """Every PNG of a folder, its class by its number; `extra` is yielded as well."""

    def __init__(self, root: Path, name: str = "packing-faces", extra: tuple[Sample | Damage, ...] = ()) -> None:
        super().__init__(root)
        self.called, self.extra = name, extra

    @property
    def info(self) -> DatasetInfo:
        return DatasetInfo(self.called, "Faces", "CC0", {"2": CLASSES}, "2", "synthfaces")

    def samples(self) -> Iterator[Sample | Damage]:
        for path in sorted(self.folder.glob("*.png")):
            yield Sample(path.stem, path, "train", CLASSES[int(path.stem) % 2])
        yield from self.extra


def write(path: Path, level: int) -> None:
    Image.new("RGB", (SIZE, SIZE), (level, 0, 0)).save(path)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FERBENCH_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "faces"
    folder.mkdir()
    for number in range(200):
        write(folder / f"{number:03d}.png", number)
    return folder


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids that were decoded, in their order."""
    ids: list[str] = []
    decode_sample = packing.decode_sample

    def noted(sample: Sample, *arguments: object) -> object:
        ids.append(sample.id)
        return decode_sample(sample, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(packing, "decode_sample", noted)
    return ids


def levels(folder: Path) -> dict[str, int]:
    packed = ImageStore(folder)
    return dict(zip(packed.ids, packed.images[:, 0, 0, 0].tolist(), strict=True))


def interrupt_after(n: int) -> DecodingProgress:
    def progress(looked_at: int, damaged: int) -> None:
        if looked_at >= n:
            raise KeyboardInterrupt

    return progress


def test_an_interrupted_run_goes_on_where_it_was(root: Path, decoded: list[str]) -> None:
    with pytest.raises(KeyboardInterrupt):
        ensure_packed(Faces(root), SIZE, progress=interrupt_after(100))
    first = list(decoded)
    folder = ensure_packed(Faces(root), SIZE)
    assert sorted(decoded) == [f"{n:03d}" for n in range(200)]
    assert len(first) == 128
    assert levels(folder) == {f"{n:03d}": n for n in range(200)}


def test_it_ends_in_the_same_folder_as_one_that_was_not_interrupted(root: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        ensure_packed(Faces(root), SIZE, progress=interrupt_after(64))
    resumed = ensure_packed(Faces(root), SIZE)
    whole = ensure_packed(Faces(root, "twin"), SIZE)
    assert (resumed / "images.npy").read_bytes() == (whole / "images.npy").read_bytes()
    assert ImageStore(resumed).fingerprint == ImageStore(whole).fingerprint
    assert sorted(path.name for path in resumed.iterdir()) == ["images.npy", "manifest.parquet", "meta.json"]


@pytest.mark.parametrize("line", [b"\0" * 40 + b"\n", b"[1]\n", b"{}\n", b"\xff\n"])
def test_what_a_loss_of_power_has_left_of_the_journal_is_decoded_again(
    root: Path, decoded: list[str], line: bytes
) -> None:
    with pytest.raises(KeyboardInterrupt):
        ensure_packed(Faces(root), SIZE, progress=interrupt_after(64))
    (journal,) = (root.parent / "cache" / "packed").glob(".*/journal.jsonl")
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([*lines[:50], line, *lines[51:]]))
    decoded.clear()
    assert levels(ensure_packed(Faces(root), SIZE)) == {f"{n:03d}": n for n in range(200)}
    assert decoded[0] == "050"


def test_it_waits_for_processes_of_a_run_that_was_killed(root: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        ensure_packed(Faces(root), SIZE, progress=interrupt_after(64))
    (lock,) = (root.parent / "cache" / "packed").glob(f".*/{packing.WORKERS}")
    left_over = os.open(lock, os.O_RDONLY)
    fcntl.flock(left_over, fcntl.LOCK_SH)
    again = threading.Thread(target=ensure_packed, args=(Faces(root), SIZE))
    again.start()
    again.join(0.5)
    assert again.is_alive()
    os.close(left_over)
    again.join(60)
    assert levels(packed_folder(Faces(root), SIZE)) == {f"{n:03d}": n for n in range(200)}


class ByRule(Faces):
    """Another reader of the same folder."""

    @property
    def info(self) -> DatasetInfo:
        return replace(super().info, rule="all are happy")

    def samples(self) -> Iterator[Sample | Damage]:
        for sample in super().samples():
            assert isinstance(sample, Sample)
            yield replace(sample, label="happiness")


def test_another_reader_of_the_folder_makes_another_copy(root: Path) -> None:
    first = ensure_packed(Faces(root), SIZE)
    second = ensure_packed(ByRule(root), SIZE)
    assert read_inspection(first).counts == {"train/happiness": 100, "train/neutral": 100}
    assert read_inspection(second).counts == {"train/happiness": 200}
    assert (find_packed(Faces(root)), find_packed(ByRule(root))) == (first, second)


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.process)])
def test_a_file_that_may_not_grow_is_an_error_and_what_was_written_is_kept(
    root: Path, decoded: list[str], workers: int
) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (packing.HEADER + 100 * SIZE * SIZE * 3, limits[1]))
    try:
        with refused(DataError, root.parent, "FERBENCH_CACHE"):
            ensure_packed(Faces(root), SIZE, workers=workers)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    decoded.clear()
    assert levels(ensure_packed(Faces(root), SIZE)) == {f"{n:03d}": n for n in range(200)}
    assert decoded[0] == "064"


def test_images_that_did_not_reach_the_disk_are_not_noted(
    root: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch, pytest.raises(DataError, match="Input/output error"):
        patch.setattr(os, "fdatasync", broken)
        ensure_packed(Faces(root), SIZE)
    decoded.clear()
    assert levels(ensure_packed(Faces(root), SIZE)) == {f"{n:03d}": n for n in range(200)}
    assert len(decoded) == 200


def test_pixels_go_to_the_disk_while_others_are_decoded(
    root: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[int] = []
    fdatasync = os.fdatasync

    def noted(descriptor: int) -> None:
        begun.append(len(decoded))
        fdatasync(descriptor)

    monkeypatch.setattr(os, "fdatasync", noted)
    monkeypatch.setattr(packing, "SAVE_SECONDS", 0.0)
    assert levels(ensure_packed(Faces(root), SIZE)) == {f"{n:03d}": n for n in range(200)}
    assert begun[0] < 200
    assert begun[-1] == 200


def test_a_journal_cut_within_a_line_costs_that_line(root: Path, decoded: list[str]) -> None:
    with pytest.raises(KeyboardInterrupt):
        ensure_packed(Faces(root), SIZE, progress=interrupt_after(64))
    (journal,) = (root.parent / "cache" / "packed").glob(".*/journal.jsonl")
    journal.write_bytes(journal.read_bytes()[:-10])
    decoded.clear()
    assert levels(ensure_packed(Faces(root), SIZE)) == {f"{n:03d}": n for n in range(200)}
    assert decoded[0] == "063"
    assert len(decoded) == 137


def test_a_repaired_image_costs_only_itself(root: Path, decoded: list[str]) -> None:
    (root / "017.png").write_bytes(b"no image")
    (root / "150.png").unlink()
    (root / "150.png").symlink_to("nowhere.png")
    with pytest.raises(DamagedImages) as caught:
        ensure_packed(Faces(root), SIZE)
    assert [(Path(d.record.split(" ")[0]).name, d.reason) for d in caught.value.damages] == [
        ("017.png", "these 8 bytes are no image"),
        ("150.png", "No such file or directory"),
    ]
    decoded.clear()
    for number in (17, 150):
        (root / f"{number:03d}.png").unlink()
        write(root / f"{number:03d}.png", number)
    folder = ensure_packed(Faces(root), SIZE)
    assert decoded == ["017", "150"]
    assert levels(folder) == {f"{n:03d}": n for n in range(200)}


def test_a_changed_image_or_label_is_decoded_again(root: Path, decoded: list[str]) -> None:
    (root / "000.png").write_bytes(b"no image")
    with pytest.raises(DamagedImages):
        ensure_packed(Faces(root), SIZE)
    decoded.clear()
    (root / "000.png").unlink()
    write(root / "004.png", 99)
    os.utime(root / "004.png", ns=(1, 1))
    relabeled = Sample("005", root / "005.png", "test", "happiness")
    (root / "005.png").rename(root / "5.off")
    (root / "5.off").rename(root / "005.jpeg")
    dataset = Faces(root, extra=(Sample("005", root / "005.jpeg", "test", relabeled.label),))
    folder = ensure_packed(dataset, SIZE)
    assert sorted(decoded) == ["004", "005"]
    assert levels(folder) == {f"{n:03d}": 99 if n == 4 else n for n in range(1, 200)}
    packed = ImageStore(folder)
    assert packed.splits[packed.ids.index("005")] == "test"


@pytest.mark.process
def test_processes_give_what_one_gives(root: Path) -> None:
    one = ensure_packed(Faces(root, "one"), SIZE)
    two = ensure_packed(Faces(root, "two"), SIZE, workers=2)
    assert (one / "images.npy").read_bytes() == (two / "images.npy").read_bytes()
    assert ImageStore(one).fingerprint == ImageStore(two).fingerprint


def test_damage_is_left_out_where_that_is_asked_for(root: Path) -> None:
    (root / "003.png").write_bytes(b"no image")
    dataset = Faces(root, extra=(Damage("labels.txt:7", "label '9' is none"),))
    dataset.on_bad_record = "skip"
    folder = ensure_packed(dataset, SIZE)
    assert levels(folder) == {f"{n:03d}": n for n in range(200) if n != 3}
    found = read_inspection(folder)
    assert found.counts == {"train/happiness": 99, "train/neutral": 100}
    assert [damage.record for damage in found.damages] == [f"{root / '003.png'} (003)", "labels.txt:7"]


def test_an_inspection_keeps_nothing(root: Path, tmp_path: Path) -> None:
    (root / "003.png").write_bytes(b"no image")
    found = inspect(Faces(root), SIZE)
    assert found.counts == {"train/happiness": 99, "train/neutral": 100}
    assert len(found.damages) == 1
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_nothing_outside_the_root_is_read(root: Path, tmp_path: Path, kind: str) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    write(secret / "300.png", 7)
    if kind == "file":
        (root / "300.png").symlink_to(secret / "300.png")
        image = root / "300.png"
    else:
        (root / "inner").symlink_to(secret)
        image = root / "inner" / "300.png"
    dataset = Faces(root, extra=(Sample("linked", image, "train", "neutral"),) if kind == "folder" else ())
    with pytest.raises(DamagedImages, match="leads out of"):
        ensure_packed(dataset, SIZE)


def test_a_link_that_replaces_a_folder_between_two_passes_is_noticed(root: Path, tmp_path: Path) -> None:
    (root / "inner").mkdir()
    write(root / "inner/300.png", 7)
    sample = Sample("300", root / "inner/300.png", "train", "neutral")
    assert levels(ensure_packed(Faces(root, extra=(sample,)), SIZE))["300"] == 7
    (root / "inner").rename(tmp_path / "elsewhere")
    (root / "inner").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DamagedImages, match="leads out of"):
        ensure_packed(Faces(root, "again", extra=(sample,)), SIZE)


def test_a_link_within_the_root_is_followed(root: Path) -> None:
    (root / "300.png").symlink_to("007.png")
    assert levels(ensure_packed(Faces(root), SIZE))["300"] == 7


def test_a_pipe_does_not_make_it_wait(root: Path) -> None:
    os.mkfifo(root / "300.png")
    with pytest.raises(DamagedImages, match="is no file"):
        ensure_packed(Faces(root), SIZE)


@pytest.mark.parametrize(
    ("sample", "reason"),
    [
        (Sample("a\x1b[2J", b"", "train", "neutral"), "no printable text"),
        (Sample("a", b"", "train", "neutral", subject="\ud800"), "this subject is no printable text"),
        (Sample("a", b"", "train", "neutral", video="a\nb"), "this video is no printable text"),
        (Sample("a", b"", "trial", "neutral"), "split 'trial' must be one of"),  # type: ignore[arg-type]
        (Sample("a", b"", "train", "boredom"), "label 'boredom' is no canonical class"),
        (Sample("a", b"", "train", {"neutral": float("nan")}), "has the share nan"),
    ],
)
def test_names_of_a_sample_are_checked(root: Path, sample: Sample, reason: str) -> None:
    with pytest.raises(DamagedImages, match=reason):
        ensure_packed(Faces(root, extra=(sample,)), SIZE)


def test_a_crop_is_another_packed_copy(root: Path) -> None:
    plain, cut = Faces(root), Faces(root)
    cut.crop = 0.2
    assert packed_folder(plain, SIZE) != packed_folder(cut, SIZE)
    folder = ensure_packed(cut, SIZE)
    assert json.loads((folder / "meta.json").read_text())["crop"] == 0.2
    assert ImageStore(folder).fingerprint != ImageStore(ensure_packed(plain, SIZE)).fingerprint


def test_the_fingerprint_is_that_of_the_sorted_rows(root: Path) -> None:
    packed = ImageStore(ensure_packed(Faces(root), SIZE))
    files = [root / f"{n:03d}.png" for n in range(200)]
    rows = [[f.stem, "train", CLASSES[int(f.stem) % 2], None, None, None, None, _sha256(f)] for f in files]
    text = json.dumps(rows, separators=(",", ":"), ensure_ascii=False)
    assert packed.fingerprint == hashlib.sha256(text.encode()).hexdigest()


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_an_empty_set_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no samples found"):
        ensure_packed(Faces(tmp_path, "empty"), SIZE)


def test_images_are_those_that_pil_resizes(tmp_path: Path) -> None:
    image = Image.fromarray(np.random.default_rng(1).integers(0, 256, (40, 60, 3), dtype=np.uint8))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    (tmp_path / "000.png").write_bytes(buffer.getvalue())
    packed = ImageStore(ensure_packed(Faces(tmp_path, "resized"), SIZE))
    assert np.array_equal(packed.images[0], np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BICUBIC)))
