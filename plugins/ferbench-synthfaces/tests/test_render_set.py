import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

pytest.importorskip("numba", reason="the renderer needs the extra `render`")

from ferbench.errors import UsageError
from ferbench.readers.parquet import ParquetDataset
from ferbench_synthfaces.render import render_set as module
from ferbench_synthfaces.render.plan import SetPlan, class_counts
from ferbench_synthfaces.render.render_set import render_set

SPLITS = ("train", "test", "unlabeled")


def no_progress(split: str, count: int) -> None:
    pass


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.slow
def test_files_and_counts(tiny_set: Path, tiny_plan: SetPlan) -> None:
    assert set(contents(tiny_set)) == {"dataset.json", *(f"{split}.parquet" for split in SPLITS)}
    description = json.loads((tiny_set / "dataset.json").read_text("utf-8"))
    assert description["generator"] == {"version": "1", "seed": 5, "size": 48, "difficulty": "standard"}
    for split, count in tiny_plan.splits.items():
        table = pq.read_table(tiny_set / f"{split}.parquet")
        assert table.num_rows == count == description["splits"][split]["images"]
    labels = pq.read_table(tiny_set / "train.parquet")["label"].to_pylist()
    assert {name: labels.count(name) for name in class_counts(33)} == class_counts(33)
    assert labels != sorted(labels)


@pytest.mark.process
def test_the_same_plan_gives_the_same_bytes_with_two_processes(
    tiny_set: Path, tiny_plan: SetPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SHARD_IMAGES", 11)
    render_set(tiny_plan, tmp_path / "again", workers=2, progress=no_progress)
    assert contents(tmp_path / "again") == contents(tiny_set)


def test_another_seed_gives_other_faces(tiny_set: Path, tiny_plan: SetPlan, tmp_path: Path) -> None:
    render_set(replace(tiny_plan, seed=6, train=0, test=8, pool=0), tmp_path / "other", 1, no_progress)
    other = pq.read_table(tmp_path / "other" / "test.parquet")["image"].to_pylist()
    ours = pq.read_table(tiny_set / "test.parquet")["image"].to_pylist()
    assert not {row["bytes"] for row in ours} & {row["bytes"] for row in other}


@pytest.mark.slow
def test_an_interrupted_render_continues(
    tiny_set: Path, tiny_plan: SetPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SHARD_IMAGES", 11)
    out = tmp_path / "set"

    def interrupt(split: str, count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render_set(tiny_plan, out, 1, interrupt)
    (finished,) = (out / ".shards").glob("*.parquet")
    written = finished.stat().st_mtime_ns
    rendered = []
    render = module.render_shard
    monkeypatch.setattr(module, "render_shard", lambda shard: rendered.append(shard.path.name) or render(shard))

    with pytest.raises(UsageError, match="other options"):
        render_set(replace(tiny_plan, seed=9), out, 1, no_progress)
    assert finished.stat().st_mtime_ns == written

    render_set(tiny_plan, out, 1, no_progress)
    assert finished.name not in rendered
    assert len(rendered) == 6
    assert contents(out) == contents(tiny_set)


def test_a_folder_with_anything_else_is_refused(tiny_plan: SetPlan, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="not an empty folder"):
        render_set(tiny_plan, tmp_path, 1, no_progress)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_manifest_ranges(tiny_set: Path, tiny_plan: SetPlan) -> None:
    for split in SPLITS:
        for row in pq.read_table(tiny_set / f"{split}.parquet").to_pylist():
            image = Image.open(io.BytesIO(row["image"]["bytes"]))
            assert (image.size, image.format, image.mode) == ((48, 48), "WEBP", "RGB")
            x0, y0, x1, y1 = row["box"]
            assert 0 <= x0 < x1 <= 48
            assert 0 <= y0 < y1 <= 48
            assert 0.38 <= row["age"] <= 0.98
            assert 0 <= row["gender"] <= 1
            assert sum(row["ancestry"].values()) == pytest.approx(1, abs=1e-5)
            assert abs(row["pose"]["yaw"]) <= 2.2 * 11.2 + 1e-4
            assert 0 < row["light"]["key"] < 1
            assert row["subject"].startswith(f"{split}-person-")
            if split != "unlabeled":
                assert len(row["action_units"]) == 52
                assert max(row["action_units"]) <= 140


def test_a_person_keeps_face_and_age_and_stays_in_one_split(tiny_set: Path) -> None:
    people: dict[str, dict[str, tuple[float, ...]]] = {}
    for split in SPLITS:
        for row in pq.read_table(tiny_set / f"{split}.parquet").to_pylist():
            person = (row["age"], row["gender"], *row["ancestry"].values())
            assert people.setdefault(split, {}).setdefault(row["subject"], person) == person
    everyone = [person for split in SPLITS for person in people[split].values()]
    assert len(everyone) == len(set(everyone))
    assert len(people["train"]) < 33


def test_the_pool_tells_no_expression(tiny_set: Path) -> None:
    table = pq.read_table(tiny_set / "unlabeled.parquet")
    assert not {"label", "action_units", "intensity"} & set(table.column_names)
    raw = (tiny_set / "unlabeled.parquet").read_bytes()
    assert b"happiness" not in raw
    assert "classes" not in json.loads((tiny_set / "dataset.json").read_text("utf-8"))["splits"]["unlabeled"]


def test_ids_are_unique_and_tell_no_class(tiny_set: Path) -> None:
    ids = [name for split in SPLITS for name in pq.read_table(tiny_set / f"{split}.parquet")["id"].to_pylist()]
    assert len(ids) == len(set(ids)) == 73
    assert ids[:2] == ["train-000000", "train-000001"]


@pytest.mark.parametrize("split", SPLITS)
def test_hugging_face_finds_its_features(tiny_set: Path, split: str) -> None:
    schema = pq.read_schema(tiny_set / f"{split}.parquet")
    features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert list(features) == schema.names
    assert features["image"] == {"_type": "Image"}
    assert features["box"] == {"_type": "Sequence", "feature": {"_type": "Value", "dtype": "float32"}, "length": 4}
    assert features["pose"]["yaw"] == {"_type": "Value", "dtype": "float32"}
    assert features["grey"] == {"_type": "Value", "dtype": "bool"}
    assert len(json.loads(schema.metadata[b"action_units"])) == 52


def test_the_core_reads_the_folder(tiny_set: Path) -> None:
    dataset = ParquetDataset(tiny_set)
    assert dataset.info.name == "tiny"
    assert dataset.info.family == "synthfaces"
    assert {task: len(names) for task, names in dataset.info.classes.items()} == {"7": 7, "8": 8}
    samples = list(dataset.samples())
    assert len(samples) == 73
    assert all((sample.label is None) == (sample.split == "unlabeled") for sample in samples)
    assert np.all([len(sample.box or ()) == 4 for sample in samples])
