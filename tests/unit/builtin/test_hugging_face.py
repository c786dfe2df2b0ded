"""Hugging Face datasets: saved to disk, and folders that its library reads."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ferbench.builtin.datasets.hugging_face import HuggingFace
from ferbench.contract.account import ReaderOptions
from ferbench.contract.dataset import Damage, Sample
from ferbench.data.load.image_store import ImageStore
from ferbench.data.prepare.decode import decode_face
from ferbench.data.prepare.pack import ensure_packed
from ferbench.errors import DataError
from ferbench.readers.account import take_account

datasets = pytest.importorskip("datasets")


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


def picture(level: int) -> Image.Image:
    return Image.new("RGB", (6, 6), (level, 0, 0))


def table(labels: list[object], feature: object) -> object:
    features = datasets.Features({"face": datasets.Image(), "label": feature})
    return datasets.Dataset.from_dict({"face": [picture(i) for i in range(len(labels))], "label": labels}, features)


def found(dataset: HuggingFace) -> list[tuple[str, str, object]]:
    return sorted((s.id, s.split, s.label) for s in dataset.samples() if isinstance(s, Sample))


def test_names_come_from_the_feature_and_splits_from_the_dictionary(tmp_path: Path) -> None:
    names = datasets.ClassLabel(names=["Angry", "happy", "confused"])
    splits = {"train": table([1, 0, -1, 2], names), "test": table([0], names)}
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "saved")
    dataset = HuggingFace(tmp_path / "saved", "mine")
    assert found(dataset) == [
        ("test/0", "test", "anger"),
        ("train/0", "train", "happiness"),
        ("train/1", "train", "anger"),
        ("train/2", "unlabeled", None),
    ]
    (damage,) = (s for s in dataset.samples() if isinstance(s, Damage))
    assert damage.record == "train/3"
    assert "'confused' is not an expression" in damage.reason
    assert dataset.info.classes == {"2": ("happiness", "anger")}


def test_images_are_those_that_were_saved(tmp_path: Path) -> None:
    table([0, 1, 0], datasets.ClassLabel(names=["sad", "fear"])).save_to_disk(tmp_path / "saved")
    packed = ImageStore(ensure_packed(HuggingFace(tmp_path / "saved", "hf-saved"), 6))
    assert packed.images[:][:, 0, 0, 0].tolist() == [0, 1, 2]


def test_a_folder_of_images_is_read_by_its_layout(tmp_path: Path) -> None:
    for split, label, level in (("train", "happy", 9), ("test", "sad", 7), ("train", "sad", 5)):
        folder = tmp_path / "images" / split / label
        folder.mkdir(parents=True)
        picture(level).save(folder / "a.png")
    dataset = HuggingFace(tmp_path / "images", "mine")
    assert [(split, label) for _, split, label in found(dataset)] == [
        ("test", "sadness"),
        ("train", "happiness"),
        ("train", "sadness"),
    ]
    levels = {
        int(np.asarray(decode_face(s.image if isinstance(s.image, bytes) else s.image.read_bytes()).image)[0, 0, 0])
        for s in dataset.samples()
        if isinstance(s, Sample)
    }
    assert levels == {5, 7, 9}


def test_a_number_without_a_name_is_refused(tmp_path: Path) -> None:
    table([3], datasets.Value("int64")).save_to_disk(tmp_path / "saved")
    (damage,) = HuggingFace(tmp_path / "saved", "mine").samples()
    assert isinstance(damage, Damage)
    assert "a number without a name" in damage.reason


def test_names_as_text_are_labels(tmp_path: Path) -> None:
    table(["joy", "Neutral", None, "hungry"], datasets.Value("string")).save_to_disk(tmp_path / "saved")
    dataset = HuggingFace(tmp_path / "saved", "mine")
    assert [label for *_, label in found(dataset)] == ["happiness", "neutral", None]
    assert dataset.info.classes == {"2": ("neutral", "happiness")}


def test_a_number_is_not_named_by_another_column(tmp_path: Path) -> None:
    features = datasets.Features(
        {
            "face": datasets.Image(),
            "label": datasets.Value("int64"),
            "emotion": datasets.ClassLabel(names=["sad", "fear"]),
        }
    )
    columns = {"face": [picture(0), picture(1)], "label": [1, None], "emotion": [0, 0]}
    datasets.Dataset.from_dict(columns, features).save_to_disk(tmp_path / "saved")
    first, second = HuggingFace(tmp_path / "saved", "mine").samples()
    assert isinstance(first, Damage) and "a number without a name" in first.reason
    assert isinstance(second, Sample) and second.label == "sadness"


def test_a_row_without_an_image_is_damage(tmp_path: Path) -> None:
    features = datasets.Features({"face": datasets.Image(), "label": datasets.Value("string")})
    columns = {"face": [None, picture(1)], "label": ["sad", "fear"]}
    datasets.Dataset.from_dict(columns, features).save_to_disk(tmp_path / "saved")
    dataset = HuggingFace(tmp_path / "saved", "mine")
    assert found(dataset) == [("train/1", "train", "fear")]
    assert [s for s in dataset.samples() if isinstance(s, Damage)] == [Damage("train/0", "this row has no image")]


def test_a_label_that_its_class_label_does_not_have_is_damage(tmp_path: Path) -> None:
    table([0, 1, 2], datasets.ClassLabel(names=["sad", "fear", "joy"])).save_to_disk(tmp_path / "saved")
    # Written so by nobody who asks the library, which does not look when it reads.
    path = tmp_path / "saved" / "dataset_info.json"
    info = json.loads(path.read_text())
    info["features"]["label"]["names"] = ["sad", "fear"]
    path.write_text(json.dumps(info))
    first, second, third = HuggingFace(tmp_path / "saved", "mine").samples()
    assert isinstance(first, Sample) and isinstance(second, Sample)
    assert isinstance(third, Damage) and third.record == "train/2"
    assert "label 2" in third.reason and "(0 to 1)" in third.reason


def test_a_negative_label_counts_from_no_end(tmp_path: Path) -> None:
    numbers = table([-2, -1, 1], datasets.Value("int64"))
    numbers.cast_column("label", datasets.ClassLabel(names=["sad", "fear"])).save_to_disk(tmp_path / "saved")
    first, second, third = HuggingFace(tmp_path / "saved", "mine").samples()
    assert isinstance(first, Damage) and first.record == "train/0"
    assert "label -2" in first.reason and "(0 to 1)" in first.reason
    assert isinstance(second, Sample) and second.split == "unlabeled"
    assert isinstance(third, Sample) and third.label == "fear"


def test_what_it_cannot_load_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="cannot load it"):
        list(HuggingFace(tmp_path / "empty", "mine").samples())


def test_a_set_without_images_names_its_columns(tmp_path: Path) -> None:
    datasets.Dataset.from_dict({"text": ["a"], "label": ["joy"]}).save_to_disk(tmp_path / "saved")
    with pytest.raises(DataError, match=r"no Image column.*text, label"):
        list(HuggingFace(tmp_path / "saved", "mine").samples())


def test_png_bytes_are_kept_as_they_are(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    picture(3).save(buffer, "PNG")
    rows = datasets.Dataset.from_dict({"face": [{"bytes": buffer.getvalue(), "path": None}], "label": ["fear"]})
    rows.cast_column("face", datasets.Image()).save_to_disk(tmp_path / "saved")
    (sample,) = HuggingFace(tmp_path / "saved", "mine").samples()
    assert isinstance(sample, Sample)
    assert sample.image == buffer.getvalue()


def test_images_that_the_hub_stores_as_files_are_read_where_they_were_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As huggingface_hub lays its cache out: a snapshot is links to blobs.
    cache = tmp_path / "hub"
    blob = cache / "datasets--user--name" / "blobs" / "0a1b"
    image = cache / "datasets--user--name" / "snapshots" / "5c7d" / "train" / "a.png"
    for path in (blob, image):
        path.parent.mkdir(parents=True)
    picture(7).save(blob, "PNG")
    image.symlink_to("../../../blobs/0a1b")
    private = tmp_path / "private.png"
    picture(9).save(private)
    paths = [str(image), str(private), str(image.with_stem("gone"))]
    rows = datasets.Dataset.from_dict({"face": paths, "label": ["fear", "joy", "joy"]})
    downloaded = datasets.DatasetDict(train=rows.cast_column("face", datasets.Image()))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(datasets, "load_dataset", lambda name: {"user/name": downloaded}[name])
    monkeypatch.chdir(tmp_path)
    first, second, third = HuggingFace(Path("user/name"), "mine").samples()
    assert isinstance(first, Sample)
    assert (first.id, first.image, first.label) == ("train/0", blob.read_bytes(), "fear")
    for damage in (second, third):
        assert isinstance(damage, Damage)
        assert "not a file that Hugging Face datasets has downloaded" in damage.reason


def unused(dataset: HuggingFace) -> set[str]:
    return {name for line in take_account(dataset).unused() for name in line.examples}


def save(root: Path, features: dict[str, object], **columns: list[object]) -> HuggingFace:
    faces = [picture(i) for i in range(len(next(iter(columns.values()))))]
    types = datasets.Features({"face": datasets.Image(), **features})
    datasets.Dataset.from_dict({"face": faces, **columns}, types).save_to_disk(root)
    return HuggingFace(root, "mine")


def test_the_only_class_label_is_the_label_whatever_its_name(tmp_path: Path) -> None:
    names = datasets.ClassLabel(names=["sad", "fear"])
    dataset = save(
        tmp_path / "a", {"emotion_label": names, "age": datasets.Value("int64")}, emotion_label=[0, 1], age=[3, 4]
    )
    assert [label for *_, label in found(dataset)] == ["sadness", "fear"]
    assert dataset.info.classes == {"2": ("sadness", "fear")}
    assert not unused(dataset)


def test_of_two_class_labels_the_user_says_which(tmp_path: Path) -> None:
    names, sex = datasets.ClassLabel(names=["sad", "fear"]), datasets.ClassLabel(names=["f", "m"])
    dataset = save(tmp_path / "a", {"a": sex, "b": names}, a=[0, 1], b=[1, 0])
    assert unused(dataset) == {"a", "b"}
    said = HuggingFace(tmp_path / "a", "mine")
    said.options = ReaderOptions(label_column="b")
    assert [label for *_, label in found(said)] == ["fear", "sadness"]
    assert not unused(said)


def test_texts_and_numbers_of_another_column_are_no_pool_in_silence(tmp_path: Path) -> None:
    dataset = save(tmp_path / "a", {"feeling": datasets.Value("string")}, feeling=["sad", "fear"])
    assert unused(dataset) == {"feeling"}
    numbers = save(
        tmp_path / "b",
        {"target": datasets.Value("int64"), "usage": datasets.Value("string")},
        target=[0, 1],
        usage=["train", "test"],
    )
    assert unused(numbers) == {"target", "usage"}
    numbers = HuggingFace(tmp_path / "b", "mine")
    numbers.options = ReaderOptions(
        label_column="target", split_column="usage", id_column="usage", classes={"0": "anger", "1": "fear"}
    )
    assert found(numbers) == [("test", "test", "fear"), ("train", "train", "anger")]


def test_a_test_image_without_label_is_not_trained_on(tmp_path: Path) -> None:
    names = datasets.ClassLabel(names=["sad", "fear"])
    datasets.DatasetDict({"train": table([-1, 0], names), "test": table([-1], names)}).save_to_disk(tmp_path / "a")
    assert [(split, label) for _, split, label in found(HuggingFace(tmp_path / "a", "mine"))] == [
        ("test", None),
        ("unlabeled", None),
        ("train", "sadness"),
    ]


def test_files_that_the_library_does_not_load_are_unused(tmp_path: Path) -> None:
    names = datasets.ClassLabel(names=["sad", "fear"])
    (tmp_path / "a").mkdir()
    table([0, 1], names).to_parquet(tmp_path / "a" / "train-00000-of-00001.parquet")
    (tmp_path / "a" / "more.png").write_bytes((tmp_path / "a" / "train-00000-of-00001.parquet").read_bytes())
    assert unused(HuggingFace(tmp_path / "a", "mine")) == {"more.png"}


def test_a_second_column_of_images_is_unused(tmp_path: Path) -> None:
    features = datasets.Features({"a": datasets.Image(), "b": datasets.Image(), "label": datasets.Value("string")})
    rows = {"a": [picture(1)], "b": [picture(2)], "label": ["fear"]}
    datasets.Dataset.from_dict(rows, features).save_to_disk(tmp_path / "a")
    assert unused(HuggingFace(tmp_path / "a", "mine")) == {"b"}


# -- what leads out ------------------------------------------------------------------------------------------------


def secret(folder: Path) -> Path:
    """A set outside the root."""
    table([0], datasets.ClassLabel(names=["sad"])).save_to_disk(folder / "outside")
    table([0], datasets.ClassLabel(names=["sad"])).to_parquet(folder / "outside" / "train.parquet")
    return folder / "outside"


@pytest.mark.parametrize("kind", ["link", "card", "absolute card", "url"])
def test_files_outside_the_root_are_not_loaded(tmp_path: Path, kind: str) -> None:
    outside, root = secret(tmp_path), tmp_path / "set"
    root.mkdir()
    if kind == "link":
        (root / "train.parquet").symlink_to(outside / "train.parquet")
    else:
        place = {"card": "../outside", "absolute card": outside, "url": "https://example.invalid"}[kind]
        (root / "README.md").write_text(f"---\nconfigs:\n- config_name: x\n  data_files: {place}/train.parquet\n---\n")
    with pytest.raises(DataError, match=r"leads out|would read|cannot load"):
        list(HuggingFace(root, "mine").samples())


@pytest.mark.parametrize("name", ["../../outside/data-00000-of-00001.arrow", "ABSOLUTE", "linked.arrow"])
def test_a_saved_set_names_no_file_outside_the_root(tmp_path: Path, name: str) -> None:
    outside, root = secret(tmp_path), tmp_path / "set"
    datasets.DatasetDict(train=table([0], datasets.ClassLabel(names=["sad"]))).save_to_disk(root)
    arrow = outside / "data-00000-of-00001.arrow"
    (root / "train" / "linked.arrow").symlink_to(arrow)
    state = json.loads((root / "train" / "state.json").read_text())
    state["_data_files"] = [{"filename": str(arrow) if name == "ABSOLUTE" else name}]
    (root / "train" / "state.json").write_text(json.dumps(state))
    with pytest.raises(DataError, match="leads out"):
        list(HuggingFace(root, "mine").samples())


def test_a_saved_set_has_no_split_outside_the_root(tmp_path: Path) -> None:
    secret(tmp_path)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "dataset_dict.json").write_text('{"splits": ["../outside"]}')
    with pytest.raises(DataError, match="leads out"):
        list(HuggingFace(tmp_path / "set", "mine").samples())


def test_the_cause_of_what_cannot_be_loaded_is_told(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "train.parquet").write_bytes(b"PAR1" + bytes(20) + b"PAR1")
    with pytest.raises(DataError) as caught:
        list(HuggingFace(tmp_path / "set", "mine").samples())
    assert "An error occurred while generating" not in str(caught.value)
