"""The setting of docs/abaw.md on look-alikes: joined sets, balanced labels, a pool, predictions smoothed over time."""

import io
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
from PIL import Image
from scipy.special import softmax

from ferbench.records.metrics import evaluate
from ferbench.records.store import read_predictions
from tests.support.command import call, succeed

PAGE = (Path(__file__).parents[2] / "docs" / "abaw.md").read_text("utf-8")
NAMES = ("neutral", "anger", "disgust", "fear", "happiness", "sadness", "surprise", "other")
"""In Aff-Wild2's order."""
AFFECTNET = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt")
EXPW = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
FRAMES = 6
SHORT = ("image_size=16", "steps=20", "labeled_batch=8", "unlabeled_batch=8", "weak.padding=1", "evaluations=2")
SETTINGS = [word for setting in SHORT for word in ("--set", setting)] + ["--backbone", "small-resnet/4"]


PLAIN = 'PLAIN_V1 = ABAW_JOINED_V1.model_copy(update={"name": "abaw-plain-v1", "temporal_window": None})'
HOOKS = """
from ferbench.hookspecs import hookimpl

@hookimpl
def ferbench_register_protocols(register):
    register("abaw-joined-v1", "ferbench_abaw.protocols:ABAW_JOINED_V1", summary="EXPR of ABAW")
    register("abaw-plain-v1", "ferbench_abaw.protocols:PLAIN_V1", summary="The same, each frame by itself")
"""


def face(name: str, number: int) -> bytes:
    """A JPEG whose class is where it is bright."""
    place = (*NAMES, "contempt").index(name)
    pixels = np.random.default_rng([place, number]).integers(0, 60, (18, 18), dtype=np.uint8)
    pixels[2 * place : 2 * place + 2] += 160
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95)
    return file.getvalue()


def write(path: Path, content: bytes | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def write_aff_wild2(root: Path) -> None:
    """Two training videos and a test video of each class, and one test video of two people."""
    videos = {"Train_Set": {f"{name}{i}": name for name in NAMES for i in (1, 2)}}
    videos["Validation_Set"] = {f"test-{name}": name for name in NAMES} | {"duo_left": "fear", "duo_right": "anger"}
    for folder, tracks in videos.items():
        for number, (track, name) in enumerate(tracks.items()):
            lines = [",".join(NAMES), *[str(NAMES.index(name))] * FRAMES]
            write(root / f"EXPR_Set/{folder}/{track}.txt", "\n".join(lines))
            for frame in range(1, FRAMES + 1):
                image = face(name, 100 * number + frame + 10_000 * (folder == "Validation_Set"))
                write(root / f"cropped_aligned/{track}/{frame:05d}.jpg", image)


def write_affectnet(root: Path) -> None:
    for folder, first in (("train_set", 20_000), ("val_set", 30_000)):
        for number in range(24):
            label = io.BytesIO()
            np.save(label, np.asarray(str(number % 8)))
            write(root / f"{folder}/images/{number}.jpg", face(AFFECTNET[number % 8], first + number))
            write(root / f"{folder}/annotations/{number}_exp.npy", label.getvalue())


def write_expw(root: Path) -> None:
    lines = []
    for number in range(28):
        write(root / f"data/image/origin/{number}.jpg", face(EXPW[number % 7], 40_000 + number))
        lines.append(f"{number}.jpg 0 1 1 17 17 50.0 {number % 7}")
    write(root / "label/label.lst", "\n".join(lines))


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The three sets, prepared, and the folder that joins them as the page says."""
    monkeypatch.setenv("FERBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    for name, build in (("aff-wild2", write_aff_wild2), ("affectnet", write_affectnet), ("expw", write_expw)):
        build(tmp_path / name)
        succeed("prepare", name, "--root", str(tmp_path / name), "--size", "16", "--workers", "1")
    (described,) = re.findall(r'^\{"name": .+\}$', PAGE, re.MULTILINE)
    write(tmp_path / "abaw/dataset.json", described)
    return tmp_path


@pytest.fixture
def protocol(data: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The protocol of the page, in an installed plugin, for as few images as there are."""
    ((name, text),) = re.findall(r"```python\n# (\S+)\n(.+?)```", PAGE, re.DOTALL)
    small = text.replace("per_class=(1000,", "per_class=(8,").replace("window=25", "window=3")
    write(data / "site" / name, f"{small}\n{PLAIN}")
    write(data / "site/ferbench_abaw/plugin.py", HOOKS)
    distribution = data / "site/ferbench_abaw-1.0.dist-info"
    write(distribution / "METADATA", "Metadata-Version: 2.1\nName: ferbench-abaw\nVersion: 1.0\n")
    write(distribution / "entry_points.txt", "[ferbench]\nabaw = ferbench_abaw.plugin\n")
    monkeypatch.syspath_prepend(data / "site")
    return "abaw-joined-v1"


def manifest(data: Path) -> list[dict[str, Any]]:
    """The images that the joined set has packed."""
    (path,) = data.glob("cache/packed/abaw-joined-*/manifest.parquet")
    rows: list[dict[str, Any]] = pyarrow.parquet.read_table(path).to_pylist()
    return rows


def record_of(runs: Path) -> tuple[Path, dict[str, Any]]:
    (path,) = runs.rglob("record.json")
    return path, json.loads(path.read_text("utf-8"))


@pytest.mark.slow
def test_dtm_on_joined_sets_and_a_pool_is_trained_smoothed_and_verified(data: Path, protocol: str) -> None:
    for number in range(30):
        write(data / f"crowd/{number}.jpg", face("happiness", 50_000 + number))
    succeed("prepare", "folder", "--root", str(data / "crowd"), "--name", "crowd", "--size", "16")
    pool = ("--unlabeled", "rest+crowd")
    budget = ("--dataset", "./abaw", "--protocol", protocol, "--per-class", "8")
    succeed("run", "--method", "dtm", *budget, *pool, *SETTINGS, "--runs", "runs")
    path, record = record_of(data / "runs")
    result = record["result"]
    assert record["cell"]["dataset"] == "abaw-joined" and record["headline"] == "macro_f1"
    assert record["cell"]["variant"] == "from-code"
    assert result["labeled_counts"] == dict.fromkeys(result["class_names"], 8)
    assert result["n_test"] == 10 * FRAMES, "the frames of Aff-Wild2 alone"
    train = Counter(row["id"].partition("/")[0] for row in manifest(data) if row["split"] == "train")
    assert train == {"aff-wild2": 16 * FRAMES, "affectnet": 21, "expw": train["expw"]}
    assert 0 < train["expw"] < 28, "without its test split"
    assert result["n_unlabeled"] == train.total() - 64 + 30
    succeed("verify", str(path))
    succeed("leaderboard", "build", "--runs", "runs", "--out", "tables", "--include-nonstandard")
    assert "means over 3 frames of a video" in (data / "tables/leaderboard.md").read_text("utf-8")


@pytest.mark.slow
def test_a_window_averages_what_is_predicted_of_each_frame_alone(data: Path, protocol: str) -> None:
    found = {}
    for name in (protocol, "abaw-plain-v1"):
        budget = ("--dataset", "./abaw", "--protocol", name, "--per-class", "8")
        succeed("run", "--method", "supervised", *budget, *SETTINGS, "--runs", f"runs/{name}")
        path, record = record_of(data / "runs" / name)
        found[name] = read_predictions(path.with_name("predictions.parquet"))
        assert record["config"]["protocol"].get("temporal_window") == (3 if name == protocol else None)
        _, confusion = evaluate(found[name].logits, found[name].labels, record["result"]["class_names"])
        assert confusion == record["result"]["confusion"]
    smooth, plain = found.values()
    assert smooth.ids == plain.ids
    p = softmax(plain.logits.astype(float), axis=1)
    tracks = [name.rpartition("/")[0] for name in plain.ids]
    assert len(set(tracks)) == 10, "two people of a video are two tracks"
    for place, track in enumerate(tracks):
        near = [other for other in (place - 1, place, place + 1) if 0 <= other < len(tracks) and tracks[other] == track]
        expected = np.mean([p[other] for other in near], axis=0)
        np.testing.assert_allclose(softmax(smooth.logits[place].astype(float)), expected, rtol=0.01)


@pytest.mark.parametrize(
    ("joined", "words"),
    [
        (["aff-wild2", "affectnet@8"], ["'affectnet' has the class contempt", "'aff-wild2' lacks", "affectnet@7"]),
        (["affectnet", "aff-wild2"], ["'aff-wild2' has the class other", "aff-wild2@7"]),
        (["aff-wild2", "expw@9"], ["--classes 9", "'expw' has the tasks 7"]),
        (["aff-wild2", "afectnet"], ["no dataset 'afectnet'", "affectnet"]),
        (["aff-wild2"], ["joined is ['aff-wild2']", "two or more"]),
        (["aff-wild2", "aff-wild2@7"], ["two or more different sets"]),
        ("aff-wild2", ["joined is 'aff-wild2'"]),
        (["aff-wild2", "./abaw"], ["joined itself"]),
    ],
)
@pytest.mark.slow
def test_what_cannot_be_joined_is_refused_by_name(data: Path, joined: Any, words: list[str]) -> None:
    inner = {"name": "inner", "joined": ["aff-wild2", "expw"]}
    write(data / "abaw/dataset.json", json.dumps(inner))
    write(data / "mine/dataset.json", json.dumps({"name": "mine", "joined": joined}))
    done = call("run", "--dataset", "./mine", "--protocol", "abaw-expr-v1", "--method", "supervised", "--ratio", "0.05")
    assert done.code in (2, 4), done.err
    assert not [word for word in words if word not in done.err], done.err


@pytest.mark.slow
def test_a_labeled_image_of_the_test_split_is_refused_while_planning(data: Path) -> None:
    frame = data / "aff-wild2/cropped_aligned/test-fear/00002.jpg"
    (data / "affectnet/train_set/images/4.jpg").write_bytes(frame.read_bytes())
    succeed("prepare", "affectnet", "--root", str(data / "affectnet"), "--size", "16", "--workers", "1")
    runs = ("--runs", "runs", *SETTINGS)
    done = call(
        "run", "--dataset", "./abaw", "--protocol", "abaw-expr-v1", "--method", "supervised", "--ratio", "0.1", *runs
    )
    assert done.code == 4
    assert "affectnet/train/4 is aff-wild2/test-fear/00002" in done.err
    assert not list((data / "runs").rglob("record.json")), "nothing was trained"
