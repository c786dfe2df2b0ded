"""`ferbench prepare` through the real command: from a user's folder to a run, and what is wrong on the way."""

import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ferbench.data.select.duplicate_report import Duplicates
from ferbench.data.sources import open_dataset
from ferbench.discovery.loader import load_registry
from ferbench.errors import DataError
from tests.support.command import call

CLASSES = ("neutral", "happiness", "fear")
SIZE = 16


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FERBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def face(number: int) -> bytes:
    """A learnable image: its class is a bright third of it."""
    pixels = np.random.default_rng(number).integers(0, 90, (SIZE, SIZE, 3), dtype=np.uint8)
    third = number % 3
    pixels[third * 5 : third * 5 + 5] += 120
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write_faces(root: Path, n_train: int = 90, n_test: int = 30) -> Path:
    for number in range(n_train + n_test):
        split = "train" if number < n_train else "test"
        path = root / split / CLASSES[number % 3] / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(face(number))
    return root


def prepare(root: Path, *options: str, name: str = "my-faces"):  # type: ignore[no-untyped-def]
    arguments = ("--root", str(root), "--name", name, "--size", str(SIZE), "--workers", "1")
    return call("prepare", "image-folder", *arguments, *options)


def snapshot(root: Path) -> dict[str, tuple[int, bytes]]:
    return {str(p): (p.stat().st_mtime_ns, p.read_bytes()) for p in root.rglob("*") if p.is_file()}


def test_a_users_folder_becomes_a_set_that_runs_can_name(tmp_path: Path) -> None:
    root = write_faces(tmp_path / "faces")
    before = snapshot(root)
    done = prepare(root)
    assert done.code == 0, done.err
    assert snapshot(root) == before
    assert f"found images in {root}: 120 entries" in done.out
    assert "120 images of 16 pixels" in done.out
    assert re.search(r"^neutral +30 +10$", done.out, re.M)
    settings = ["--set", "image_size=16", "--set", "steps=20", "--set", "labeled_batch=8", "--set", "unlabeled_batch=8"]
    small = [*settings, "--set", "weak.padding=1", "--backbone", "small-resnet/8", "--runs", str(tmp_path / "runs")]
    run = call("run", "--method", "fixmatch", "--dataset", "my-faces", "--ratio", "0.2", *small)
    assert run.code == 0, run.err
    (record,) = (tmp_path / "runs").rglob("record.json")
    result = json.loads(record.read_text())["result"]
    assert result["labeled_counts"] == dict.fromkeys(CLASSES, 6)
    assert (result["n_test"], result["n_unlabeled"]) == (30, 72)
    assert call("verify", str(record)).code == 0


@pytest.mark.process
def test_what_is_prepared_is_verified_without_torch(tmp_path: Path) -> None:
    assert prepare(write_faces(tmp_path / "faces")).code == 0
    cell = ("--dataset=my-faces", "--method=supervised", "--ratio=0.2", "--backbone=small-resnet/4", "--set=steps=1")
    done = call("run", *cell, "--set=image_size=16", f"--runs={tmp_path}/runs", "--executor=inline")
    assert done.code == 0, done.err
    code = "import sys; from ferbench.cli.main import main; main(sys.argv[1:]); sys.exit('torch' in sys.modules)"
    command = [sys.executable, "-c", code, "verify", f"{tmp_path}/runs", "--json"]
    shown = subprocess.run(command, capture_output=True, text=True)
    (verified,) = json.loads(shown.stdout)
    assert {"name": "split", "state": "verified", "detail": ""} in verified["checks"]
    assert shown.returncode == 0, "torch was imported"


def test_the_source_may_be_gone_once_it_is_prepared(tmp_path: Path) -> None:
    root = write_faces(tmp_path / "faces")
    assert prepare(root).code == 0
    root.rename(tmp_path / "elsewhere")
    options = ("--set", "image_size=16", "--backbone", "small-resnet/8", "--runs", str(tmp_path / "runs"))
    plan = call("run", "--method", "supervised", "--dataset", "my-faces", "--ratio", "0.2", *options, "--dry-run")
    assert plan.code == 0, plan.err


def test_images_without_a_label_are_a_pool_beside_the_rest(tmp_path: Path) -> None:
    root = write_faces(tmp_path / "faces")
    (root / "unlabeled").mkdir()
    for number in range(5):
        (root / "unlabeled" / f"{number}.png").write_bytes(face(500 + number))
    said = re.search(
        r"5 images without a label.*(--protocol external-v1 --unlabeled rest\+my-faces)", prepare(root).out
    )
    assert said
    settings = ["--set", "image_size=16", "--set", "steps=2", "--set", "labeled_batch=8", "--set", "unlabeled_batch=8"]
    small = [*settings, "--set", "weak.padding=1", "--backbone", "small-resnet/8", "--runs", str(tmp_path / "runs")]
    run = call("run", "--method", "fixmatch", "--dataset", "my-faces", "--ratio", "0.2", *small, *said[1].split())
    assert run.code == 0, run.err
    (record,) = (tmp_path / "runs").rglob("record.json")
    assert json.loads(record.read_text())["result"]["n_unlabeled"] == 72 + 5
    assert call("verify", str(record)).code == 0


def test_another_size_needs_the_source_as_it_was(tmp_path: Path) -> None:
    root = write_faces(tmp_path / "faces")
    assert prepare(root).code == 0
    dataset = open_dataset(load_registry(), "my-faces")
    assert len(list(dataset.samples())) == 120
    (root / "train" / "fear").rename(root / "train" / "anger")
    with pytest.raises(DataError, match="has changed since 'my-faces' was prepared; run"):
        dataset.samples()
    shutil.move(root, tmp_path / "elsewhere")
    with pytest.raises(DataError, match=r"another size.*no such folder.*bring it back"):
        dataset.samples()


def test_what_is_wrong_is_listed_whole_and_repaired_without_starting_again(tmp_path: Path, own_cache: Path) -> None:
    root = write_faces(tmp_path / "faces")
    damaged = [root / "train" / "neutral" / "003.png", root / "test" / "fear" / "092.png"]
    whole = [path.read_bytes() for path in damaged]
    damaged[0].write_bytes(whole[0][:100])
    damaged[1].write_bytes(b"=cmd()")
    done = prepare(root)
    assert done.code == 4
    assert "2 entries give no image" in done.err
    assert "--on-bad-record skip" in done.err
    table = own_cache / "prepared" / "my-faces" / "damaged.csv"
    assert str(table) in done.err
    rows = list(csv.reader(table.open()))
    assert rows[0] == ["record", "reason"]
    assert all(any(str(path) in row[0] for row in rows[1:]) for path in damaged)
    assert call("run", "--method", "fixmatch", "--dataset", "my-faces", "--ratio", "0.2").code == 2

    for path, content in zip(damaged, whole, strict=True):
        path.write_bytes(content)
    assert "120 images" in prepare(root).out


def test_damage_is_left_out_and_counted_where_that_is_asked_for(tmp_path: Path, own_cache: Path) -> None:
    root = write_faces(tmp_path / "faces")
    (root / "train" / "neutral" / "003.png").write_bytes(b"no image")
    done = prepare(root, "--on-bad-record", "skip")
    assert done.code == 0, done.err
    assert "1 damaged or missing images are left out" in done.err
    assert "119 images" in done.out
    card = (own_cache / "prepared" / "my-faces" / "card.html").read_text()
    assert "1 entries could not be used and are omitted" in card
    assert "these 8 bytes are not an image" in card


def test_images_in_two_splits_are_found(tmp_path: Path, own_cache: Path) -> None:
    root = write_faces(tmp_path / "faces")
    same = root / "train" / "neutral" / "000.png"
    (root / "test" / "neutral" / "copy.png").write_bytes(same.read_bytes())
    mirrored = Image.open(root / "train" / "fear" / "002.png").transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    mirrored.save(root / "test" / "fear" / "mirrored.png")
    done = prepare(root)
    assert done.code == 0, done.err
    rows = list(csv.DictReader((own_cache / "prepared" / "my-faces" / "duplicates.csv").open()))
    found = {(row["id"], row["other_id"], row["bits"]) for row in rows}
    assert ("test/neutral/copy.png", "train/neutral/000.png", "") in found
    assert ("test/fear/mirrored.png", "train/fear/002.png", "0") in found
    assert "images are in two splits" in done.err


def test_a_check_decodes_everything_and_keeps_nothing(tmp_path: Path, own_cache: Path) -> None:
    root = write_faces(tmp_path / "faces")
    done = prepare(root, "--check")
    assert done.code == 0, done.err
    assert "nothing was kept" in done.out
    assert not list(own_cache.rglob("*.npy"))
    for number in range(0, 90, 3):
        (root / "train" / "neutral" / f"{number:03d}.png").write_bytes(b"no image")
    done = prepare(root, "--check")
    assert done.code == 4
    assert len(re.findall(r"\d{3}\.png \(.*\): these 8 bytes are not an image", done.out)) == 30
    assert "30 entries give no image" in done.err
    assert call("run", "--method", "fixmatch", "--dataset", "my-faces", "--ratio", "0.2").code == 2


@pytest.mark.process
def test_a_check_of_a_stream_knows_how_many_there_are(tmp_path: Path) -> None:
    root = write_faces(tmp_path / "faces")
    done = call("prepare", "folder", "--name", "crowd", "--root", str(root), "--size", str(SIZE), "--check")
    assert (done.code, f"found images in {root}: 120 entries" in done.out) == (0, True), done.err


@pytest.mark.process
def test_all_that_is_wrong_with_a_stream_is_listed(tmp_path: Path, own_cache: Path) -> None:
    root = write_faces(tmp_path / "faces")
    for number in range(30):
        (root / f"{number}.jpg").write_bytes(b"broken")
    done = call("prepare", "folder", "--name", "crowd", "--root", str(root), "--size", str(SIZE))
    path = own_cache / "prepared" / "crowd" / "damaged.csv"
    assert (done.code, str(path) in done.err) == (4, True)
    records = [row["record"].split()[-1] for row in csv.DictReader(path.open())]
    assert sorted(records) == sorted(f"{number}.jpg" for number in range(30))


def test_text_of_strangers_is_escaped_on_the_card(tmp_path: Path, own_cache: Path) -> None:
    root = write_faces(tmp_path / "faces", n_train=9, n_test=3)
    name = "<img src=x onerror=alert(1)>.png"
    (root / "train" / "fear" / name).write_bytes(b"no image")
    assert prepare(root, "--on-bad-record", "skip").code == 0
    card = (own_cache / "prepared" / "my-faces" / "card.html").read_text()
    assert "onerror" in card
    assert "<img src=x" not in card


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("prepare", "synthfaces", "--root", "."), 2, "includes its images"),
        (("prepare", "image-folder", "--root", "."), 2, "with --name"),
        (("prepare", "image-folder", "--root", ".", "--name", "My Faces"), 2, "lower-case letters"),
        (("prepare", "image-folder", "--root", ".", "--name", "../x"), 2, "lower-case letters"),
        (("prepare", "image-folder", "--root", ".", "--name", "synthfaces"), 2, "belongs to an installed dataset"),
        (("prepare", "image-folder", "--root", "/nowhere/at/all", "--name", "mine"), 4, "no such folder"),
        (("prepare", "image-foldr", "--root", "."), 2, "did you mean 'image-folder'"),
        (("run", "--method", "fixmatch", "--ratio", "0.1", "--dataset", "image-folder"), 4, "ferbench prepare"),
    ],
)
def test_wrong_commands_say_what_to_do(arguments: tuple[str, ...], code: int, text: str) -> None:
    done = call(*arguments)
    assert (done.code, text in done.err) == (code, True), done.err


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = prepare(tmp_path / "empty")
    assert done.code == 4
    assert "no samples found" in done.err


def test_a_damaged_registration_says_to_prepare_again(tmp_path: Path, own_cache: Path) -> None:
    assert prepare(write_faces(tmp_path / "faces", 9, 3)).code == 0
    (own_cache / "prepared" / "my-faces" / "source.json").write_text('{"name": "my-faces"}')
    done = call("run", "--method", "supervised", "--dataset", "my-faces", "--ratio", "0.5", "--dry-run")
    assert done.code == 4
    assert "`ferbench prepare` for 'my-faces' again" in done.err


def test_a_folder_of_the_same_name_where_it_runs_does_not_hide_the_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_faces(tmp_path / "my-faces")
    monkeypatch.chdir(tmp_path)
    assert prepare(root).code == 0
    assert call("run", "--method", "fixmatch", "--dataset", "my-faces", "--ratio", "0.2", "--dry-run").code == 0


def test_a_source_that_changes_meanwhile_is_told_and_the_set_can_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_faces(tmp_path / "faces")

    def changing(packed: object) -> Duplicates:
        (root / "notes.txt").write_text("new")
        return Duplicates([], [])

    monkeypatch.setattr("ferbench.data.select.duplicate_report.across_splits", changing)
    done = prepare(root)
    assert done.code == 0, done.err
    assert "the source has changed while it was read" in done.err
    root.rename(tmp_path / "elsewhere")
    plan = ("run", "--method", "fixmatch", "--dataset", "my-faces", "--ratio", "0.2", "--dry-run")
    assert call(*plan, "--set", f"image_size={SIZE}").code == 0


def test_a_dry_run_looks_whether_the_source_is_there_that_another_size_needs(tmp_path: Path) -> None:
    root = write_faces(tmp_path / "faces")
    assert prepare(root).code == 0
    root.rename(tmp_path / "elsewhere")
    runs = ("run", "--method", "fixmatch", "--dataset", "my-faces", "--ratio", "0.2", "--runs", str(tmp_path / "runs"))
    refused = [call(*runs, "--set", "image_size=24", *more) for more in ((), ("--dry-run",))]
    assert [done.code for done in refused] == [4, 4]
    assert refused[0].err == refused[1].err and "bring it back" in refused[0].err


def test_the_cache_may_not_lie_in_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_faces(tmp_path / "faces")
    monkeypatch.setenv("FERBENCH_CACHE", str(root / "cache"))
    done = prepare(root)
    assert (done.code, "is inside --root" in done.err) == (2, True)
    assert not (root / "cache").exists()


def test_a_root_whose_name_is_no_text_is_refused(tmp_path: Path) -> None:
    root = write_faces(Path(os.fsdecode(os.fsencode(tmp_path) + b"/f\xffaces")))
    done = prepare(root)
    assert (done.code, "the name of this folder is not printable text" in done.err) == (4, True)


def test_lists_name_whole_paths(tmp_path: Path, own_cache: Path) -> None:
    root = write_faces(tmp_path / "faces")
    names = [f"{'long' * 50}{end}  x.png" for end in "ab"]
    for name in names:
        (root / "train" / "fear" / name).write_bytes(b"broken")
    assert prepare(root).code == 4
    listed = (own_cache / "prepared" / "my-faces" / "damaged.csv").read_text()
    assert all(name in listed for name in names)


def slow_set(root: Path) -> list[str]:
    """The command that prepares 1,200 images which take a while."""
    noise = np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8)
    for number in range(1200):
        path = root / "train" / CLASSES[number % 3] / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        if number < 3:
            Image.fromarray(noise).save(path)
        else:
            os.link(root / "train" / CLASSES[number % 3] / f"{number % 3:03d}.png", path)
    options = ("--root", str(root), "--name", "slow", "--size", "16", "--workers", "2")
    return [sys.executable, "-m", "ferbench", "prepare", "image-folder", *options]


def start_and_wait_for_images(command: list[str], cache: Path) -> "subprocess.Popen[str]":
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not finished_parts(cache):
        time.sleep(0.02)
    return running


def finished_parts(cache: Path) -> list[Path]:
    return list((cache / "packed").glob(".slow-16px-*/part-*.parquet"))


@pytest.mark.process
def test_ctrl_c_keeps_what_is_decoded(tmp_path: Path, own_cache: Path) -> None:
    command = slow_set(tmp_path / "faces")
    running = start_and_wait_for_images(command, own_cache)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 130, errors
    assert "Traceback" not in errors
    assert finished_parts(own_cache)
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "1,200 images" in done.stdout


@pytest.mark.process
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_processes_that_decode_end_with_one_that_is_killed(
    tmp_path: Path, own_cache: Path, how: signal.Signals
) -> None:
    running = start_and_wait_for_images(slow_set(tmp_path / "faces"), own_cache)
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
    assert len(children) >= 2
    running.send_signal(how)
    running.communicate(timeout=60)  # ends when nobody holds its output any more
    deadline = time.monotonic() + 30
    while any(is_alive(pid) for pid in children):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False
