"""From an official copy to a verified record, through the real command line."""

import json
import os
import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from tests.support.command import call

from fer_lookalikes import affectnet
from fer_lookalikes.expected import write
from fer_lookalikes.fer2013 import SPLITS
from fer_lookalikes.ferplus import HEADER
from fer_lookalikes.learnable import SIZE, face, jpeg, write_raf_db

TRAIN, TEST = 12, 4
"""Images of each class."""


def write_ferplus(root: Path) -> None:
    votes, images = [HEADER], ["emotion,pixels,Usage"]
    for usage, n in zip(SPLITS, (TRAIN, TEST, TEST), strict=True):
        for number in range(8 * n):
            of_people = [0] * 10
            of_people[number % 8] = 8
            votes.append(f"{usage},fer{len(votes):07d}.png,{','.join(map(str, of_people))}")
            pixels = np.asarray(face(number % 8, len(images), 48)).ravel()
            images.append(f"0,{' '.join(map(str, pixels))},{usage}")
    write(root / "fer2013new.csv", "\n".join(votes) + "\n")
    write(root / "fer2013.csv", "\n".join(images) + "\n")


def write_affectnet(root: Path) -> None:
    for folder, n in (("train_set", TRAIN), ("val_set", TEST)):
        for number in range(8 * n):
            write(root / f"{folder}/images/{number}.jpg", jpeg(face(number % 8, number + 1000 * n)))
            write(root / f"{folder}/annotations/{number}_exp.npy", affectnet.npy(np.asarray(str(number % 8))))


def snapshot(root: Path) -> dict[str, tuple[int, bytes]]:
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("name", "build", "method", "classes"),
    [
        ("raf-db", partial(write_raf_db, train=TRAIN, test=TEST), "fixmatch", 7),
        ("ferplus", write_ferplus, "supervised", 8),
        ("affectnet", write_affectnet, "supervised", 7),
    ],
)
def test_a_copy_is_prepared_trained_on_and_verified(  # type: ignore[no-untyped-def]
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, build, method: str, classes: int
) -> None:
    monkeypatch.setenv("FERBENCH_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "copy"
    build(root)
    before = snapshot(root)
    prepared = call("prepare", name, "--root", str(root), "--size", str(SIZE), "--workers", "1")
    assert prepared.code == 0, prepared.err
    assert "counts are not the official ones" in prepared.err
    assert re.search(rf"^found .+ in {re.escape(str(root))}: [\d,]+ entries$", prepared.out, re.M)
    assert snapshot(root) == before
    os.rename(root, tmp_path / "elsewhere")

    settings = ("image_size=16", "steps=10", "labeled_batch=8", "unlabeled_batch=8", "weak.padding=1")
    chosen = [word for setting in settings for word in ("--set", setting)]
    runs = ("--backbone", "small-resnet/8", "--runs", str(tmp_path / "runs"))
    run = call("run", "--method", method, "--dataset", name, "--ratio", "0.25", *chosen, *runs)
    assert run.code == 0, run.err
    (record,) = (tmp_path / "runs").rglob("record.json")
    result = json.loads(record.read_text())["result"]
    assert result["n_test"] == classes * TEST
    assert set(result["labeled_counts"].values()) == {TRAIN // 4}
    verified = call("verify", str(record))
    assert verified.code == 0, verified.err
