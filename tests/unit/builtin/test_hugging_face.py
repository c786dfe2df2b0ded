"""Hugging Face data sets: saved to disk, and folders that its library reads."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ferbench.builtin.datasets.hugging_face import HuggingFace
from ferbench.contract.dataset import Damage, Sample
from ferbench.data.decode import decode_image
from ferbench.data.pack import ensure_packed
from ferbench.data.packed import Packed
from ferbench.errors import DataError

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
    assert "'confused' is no expression" in damage.reason
    assert dataset.info.classes == {"2": ("happiness", "anger")}


def test_images_are_those_that_were_saved(tmp_path: Path) -> None:
    table([0, 1, 0], datasets.ClassLabel(names=["sad", "fear"])).save_to_disk(tmp_path / "saved")
    packed = Packed(ensure_packed(HuggingFace(tmp_path / "saved", "hf-saved"), 6))
    assert packed.images[:, 0, 0, 0].tolist() == [0, 1, 2]


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
        int(np.asarray(decode_image(s.image if isinstance(s.image, bytes) else s.image.read_bytes()))[0, 0, 0])
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
    table(["joy", "Neutral"], datasets.Value("string")).save_to_disk(tmp_path / "saved")
    assert [label for *_, label in found(HuggingFace(tmp_path / "saved", "mine"))] == ["happiness", "neutral"]


def test_what_it_cannot_load_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="cannot load it"):
        list(HuggingFace(tmp_path / "empty", "mine").samples())


def test_a_set_without_images_names_its_columns(tmp_path: Path) -> None:
    datasets.Dataset.from_dict({"text": ["a"], "label": ["joy"]}).save_to_disk(tmp_path / "saved")
    with pytest.raises(DataError, match="no column of images, but text, label"):
        list(HuggingFace(tmp_path / "saved", "mine").samples())


def test_png_bytes_are_kept_as_they_are(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    picture(3).save(buffer, "PNG")
    rows = datasets.Dataset.from_dict({"face": [{"bytes": buffer.getvalue(), "path": None}], "label": ["fear"]})
    rows.cast_column("face", datasets.Image()).save_to_disk(tmp_path / "saved")
    (sample,) = HuggingFace(tmp_path / "saved", "mine").samples()
    assert isinstance(sample, Sample)
    assert sample.image == buffer.getvalue()
