"""What was decoded is kept: interruptions, repaired and changed images, processes, files outside the root."""

import hashlib
import io
import json
import os
import resource
from collections.abc import Callable, Iterator
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


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "PART", 16)


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
    return dict(zip(packed.ids, packed.images[:][:, 0, 0, 0].tolist(), strict=True))


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
    assert 100 <= len(first) < 200
    assert levels(folder) == {f"{n:03d}": n for n in range(200)}


def test_it_ends_in_the_same_folder_as_one_that_was_not_interrupted(root: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        ensure_packed(Faces(root), SIZE, progress=interrupt_after(64))
    resumed = ensure_packed(Faces(root), SIZE)
    whole = ensure_packed(Faces(root, "twin"), SIZE)
    assert pixels(resumed) == pixels(whole)
    assert ImageStore(resumed).fingerprint == ImageStore(whole).fingerprint
    rest = {path.name for path in resumed.iterdir() if path.suffix != ".npy"}
    assert rest == {"manifest.parquet", "meta.json"}


@pytest.mark.parametrize("suffix", [".npy", ".parquet"])
@pytest.mark.parametrize(
    "damage", [lambda content: b"", lambda content: content[:-10], lambda content: bytes(len(content))]
)
def test_what_a_loss_of_power_has_left_of_a_part_is_decoded_again(
    root: Path, decoded: list[str], suffix: str, damage: Callable[[bytes], bytes]
) -> None:
    with pytest.raises(KeyboardInterrupt):
        ensure_packed(Faces(root), SIZE, progress=interrupt_after(100))
    damaged = min((root.parent / "cache" / "packed").glob(f".*/part-*{suffix}"))
    damaged.write_bytes(damage(damaged.read_bytes()))
    first = decoded[: len(decoded)]
    decoded.clear()
    assert levels(ensure_packed(Faces(root), SIZE)) == {f"{n:03d}": n for n in range(200)}
    assert set(first) & set(decoded)


def test_images_lie_in_an_order_that_does_not_tell_their_class(root: Path) -> None:
    stored = ImageStore(ensure_packed(Faces(root), SIZE)).ids
    assert sorted(stored) != stored
    assert set(stored[:100]) != {f"{n:03d}" for n in range(100)}


@pytest.mark.parametrize("name", ["manifest.parquet", "meta.json", "part"])
def test_a_damaged_copy_is_named_and_made_anew(
    root: Path, decoded: list[str], caplog: pytest.LogCaptureFixture, name: str
) -> None:
    folder = ensure_packed(Faces(root), SIZE)
    before = ImageStore(folder).fingerprint
    path = next(folder.glob(f"{name}*"))
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=path.name):
        _ = ImageStore(folder).images
    decoded.clear()
    assert levels(ensure_packed(Faces(root), SIZE)) == {f"{n:03d}": n for n in range(200)}
    assert len(decoded) == 200
    assert path.name in caplog.text and "made anew" in caplog.text
    assert ImageStore(folder).fingerprint == before


def test_a_damaged_copy_without_its_source_is_an_error_and_stays(root: Path) -> None:
    folder = ensure_packed(Faces(root), SIZE)
    path = next(folder.glob("part-*.npy"))
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    dataset, state = Faces(root), Faces(root).source_digest()
    dataset.source_digest = lambda: state  # type: ignore[method-assign]
    root.rename(root.with_name("away"))
    with pytest.raises(DataError, match=str(root)):
        ensure_packed(dataset, SIZE)
    assert path.is_file()


def pixels(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.glob("*.npy"))]


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
    resource.setrlimit(resource.RLIMIT_FSIZE, (10 * SIZE * SIZE * 3, limits[1]))
    try:
        with refused(DataError, root.parent, "FERBENCH_CACHE"):
            ensure_packed(Faces(root), SIZE, workers=workers)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert levels(ensure_packed(Faces(root), SIZE)) == {f"{n:03d}": n for n in range(200)}


def test_a_repaired_image_costs_its_part(root: Path, decoded: list[str]) -> None:
    (root / "017.png").write_bytes(b"no image")
    (root / "150.png").unlink()
    (root / "150.png").symlink_to("nowhere.png")
    with pytest.raises(DamagedImages) as caught:
        ensure_packed(Faces(root), SIZE)
    assert [(Path(d.record.split(" ")[0]).name, d.reason) for d in caught.value.damages] == [
        ("017.png", "these 8 bytes are not an image"),
        ("150.png", "No such file or directory"),
    ]
    decoded.clear()
    for number in (17, 150):
        (root / f"{number:03d}.png").unlink()
        write(root / f"{number:03d}.png", number)
    folder = ensure_packed(Faces(root), SIZE)
    assert {"017", "150"} <= set(decoded) and len(decoded) < 100
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
    assert {"004", "005"} <= set(decoded) and len(decoded) < 100
    assert levels(folder) == {f"{n:03d}": 99 if n == 4 else n for n in range(1, 200)}
    packed = ImageStore(folder)
    assert packed.splits[packed.ids.index("005")] == "test"


@pytest.mark.process
def test_processes_give_what_one_gives(root: Path) -> None:
    one = ensure_packed(Faces(root, "one"), SIZE)
    two = ensure_packed(Faces(root, "two"), SIZE, workers=2)
    assert pixels(one) == pixels(two)
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
    with pytest.raises(DamagedImages, match="not a file"):
        ensure_packed(Faces(root), SIZE)


@pytest.mark.parametrize(
    ("sample", "reason"),
    [
        (Sample("a\x1b[2J", b"", "train", "neutral"), "not printable text"),
        (Sample("a", b"", "train", "neutral", subject="\ud800"), "this subject is not printable text"),
        (Sample("a", b"", "train", "neutral", video="a\nb"), "this video is not printable text"),
        (Sample("a", b"", "trial", "neutral"), "split 'trial' must be one of"),  # type: ignore[arg-type]
        (Sample("a", b"", "train", "boredom"), "label 'boredom' is not a canonical class"),
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
