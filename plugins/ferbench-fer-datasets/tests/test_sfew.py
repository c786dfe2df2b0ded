"""SFEW 2.0: labels from folders, Val as test, archives nested as they unpack."""

import shutil
from pathlib import Path

import pytest
from tests.support.refusals import refused

from ferbench.contract.dataset import Damage
from ferbench.errors import DataError

from fer_lookalikes.expected import read, write_image
from fer_lookalikes.sfew import build


def test_round_trip(tmp_path: Path) -> None:
    expected = build(tmp_path)["sfew"]
    samples, damages = read("sfew", tmp_path)
    assert samples == expected
    assert damages == []
    assert {sample.split for sample in samples} == {"train", "test"}


def test_other_nestings_and_lower_case_give_the_same(tmp_path: Path) -> None:
    expected = build(tmp_path / "a")["sfew"]
    flat = tmp_path / "b"
    shutil.copytree(tmp_path / "a" / "Train" / "Train_Aligned_Faces", flat / "sfew" / "Train_Aligned_Faces")
    val = tmp_path / "a" / "Val" / "Val_Aligned_Faces_new" / "Val_Aligned_Faces"
    shutil.copytree(val, flat / "sfew" / "Val_Aligned_Faces")
    for folder in list((flat / "sfew" / "Val_Aligned_Faces").iterdir()):
        folder.rename(folder.with_name(folder.name.lower()))
    assert read("sfew", flat) == (expected, [])


def test_folders_that_are_missing_or_no_class_are_all_reported(tmp_path: Path) -> None:
    expected = build(tmp_path)["sfew"]
    train = tmp_path / "Train" / "Train_Aligned_Faces"
    shutil.rmtree(train / "Disgust")
    shutil.rmtree(train / "Sad")
    write_image(train / "Contempt" / "Juno_000000001_00000001.png")
    samples, damages = read("sfew", tmp_path)
    assert samples == [row for row in expected if row.split == "test" or row.label not in ("disgust", "sadness")]
    names = "angry, disgust, fear, happy, neutral, sad, surprise"
    assert damages == [
        Damage("Train/Train_Aligned_Faces/Contempt", f"is not a class folder ({names})"),
        Damage("Train/Train_Aligned_Faces/disgust", "this class folder is missing"),
        Damage("Train/Train_Aligned_Faces/sad", "this class folder is missing"),
    ]


def test_frames_that_were_not_aligned_are_not_taken_for_faces(tmp_path: Path) -> None:
    build(tmp_path)
    (tmp_path / "Train" / "Train_Aligned_Faces").rename(tmp_path / "Train" / "Frames")
    with refused(DataError, "Train/Train_Aligned_Faces", "Train_Aligned_Faces.zip"):
        read("sfew", tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        read("sfew", tmp_path / "elsewhere")
