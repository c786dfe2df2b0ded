"""CK+: the last three frames of a labeled sequence, and the first as neutral where that is asked for."""

import shutil
from pathlib import Path

import pytest

from ferbench.contract.dataset import Damage
from ferbench.errors import DataError
from ferbench_fer_datasets.ck_plus import CkPlus, CkPlusNeutral

from fer_lookalikes.ck_plus import build
from fer_lookalikes.expected import read, write


def test_round_trip(tmp_path: Path) -> None:
    expected = build(tmp_path)["ck-plus"]
    assert len(expected) == 7 * 3
    assert read("ck-plus", tmp_path) == (expected, [])


def test_first_frames_are_neutral(tmp_path: Path) -> None:
    expected = build(tmp_path)["ck-plus-neutral"]
    assert len(expected) == 7 * 4
    assert read("ck-plus-neutral", tmp_path) == (expected, [])


def test_class_sets_have_what_the_frames_show(tmp_path: Path) -> None:
    peaks, all_frames = CkPlus(tmp_path).info, CkPlusNeutral(tmp_path).info
    assert peaks.family == all_frames.family == "ck-plus"
    assert set(peaks.classes["7"]) - set(peaks.classes["6"]) == {"contempt"}
    assert "neutral" not in peaks.classes["7"]
    assert set(all_frames.classes["8"]) - set(all_frames.classes["7"]) == {"contempt"}
    assert set(all_frames.classes["8"]) - set(peaks.classes["7"]) == {"neutral"}
    assert sum(peaks.official["train"].values()) == 327 * 3
    assert sum(all_frames.official["train"].values()) == 327 * 4


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"   0.0000000e+00\n", "label '0' must be one of 1, 2, 3, 4, 5, 6, 7"),
        (b"3.5", "label '3.5' must be one of"),
        (b"nan", "label 'nan' must be one of"),
        (b"1e400", "label 'inf' must be one of"),
        (b"", "could not convert string to float"),
        (b"disgust", "could not convert string to float"),
        (b"\xff3", "not UTF-8"),
    ],
)
def test_a_label_that_is_none_costs_its_sequence(tmp_path: Path, content: bytes, reason: str) -> None:
    expected = build(tmp_path)["ck-plus"]
    name = "Emotion/S010/002/S010_002_00000012_emotion.txt"
    (tmp_path / name).write_bytes(content)
    samples, (damage,) = read("ck-plus", tmp_path)
    assert samples == [row for row in expected if row.video != "S010_002"]
    assert damage.record == name
    assert reason in damage.reason


def test_frames_that_are_missing_are_reported_for_each_sequence(tmp_path: Path) -> None:
    expected = build(tmp_path)["ck-plus"]
    images = tmp_path / "cohn-kanade-images"
    (images / "S005" / "001" / "S005_001_00000005.png").unlink()
    for frame in (1, 2):
        (images / "S010" / "004" / f"S010_004_0000000{frame}.png").unlink()
    shutil.rmtree(images / "S138" / "005")
    samples, damages = read("ck-plus", tmp_path)
    assert samples == [row for row in expected if row.video not in ("S005_001", "S010_004", "S138_005")]
    assert [damage.record.rpartition("/")[2] for damage in damages] == [
        "S005_001_00000005_emotion.txt",
        "S010_004_00000004_emotion.txt",
        "S138_005_00000004_emotion.txt",
    ]
    assert damages[0].reason == "the peak frame S005_001_00000005 is missing among the images"
    assert damages[1].reason == "only 2 frames up to the peak"
    assert "No such file" in damages[2].reason


def test_an_earlier_frame_does_not_stand_in_for_one_before_the_peak(tmp_path: Path) -> None:
    expected = build(tmp_path)["ck-plus"]
    (tmp_path / "cohn-kanade-images" / "S005" / "001" / "S005_001_00000004.png").unlink()
    samples, damages = read("ck-plus", tmp_path)
    assert samples == [row for row in expected if row.video != "S005_001"]
    assert damages == [
        Damage(
            "Emotion/S005/001/S005_001_00000005_emotion.txt",
            "a frame just before the peak S005_001_00000005 is missing among the images",
        )
    ]


def test_three_frames_are_too_few_where_the_first_is_neutral(tmp_path: Path) -> None:
    build(tmp_path)
    (tmp_path / "cohn-kanade-images" / "S010" / "004" / "S010_004_00000001.png").unlink()
    assert read("ck-plus", tmp_path)[1] == []
    assert read("ck-plus-neutral", tmp_path)[1] == [
        Damage("Emotion/S010/004/S010_004_00000004_emotion.txt", "only 3 frames up to the peak")
    ]


def test_frames_after_the_peak_and_images_of_other_names_are_not_read(tmp_path: Path) -> None:
    expected = build(tmp_path)["ck-plus"]
    folder = tmp_path / "cohn-kanade-images" / "S005" / "001"
    for name in ("S005_001_00000006.png", "S005_001_copy.png", "S005_00000004.png", "cover.png"):
        shutil.copy(folder / "S005_001_00000001.png", folder / name)
    assert read("ck-plus", tmp_path) == (expected, [])


def test_labels_in_the_folder_of_their_archive(tmp_path: Path) -> None:
    expected = build(tmp_path)["ck-plus"]
    (tmp_path / "Emotion").rename(tmp_path / "labels")
    (tmp_path / "Emotion_labels").mkdir()
    (tmp_path / "labels").rename(tmp_path / "Emotion_labels" / "Emotion")
    assert read("ck-plus", tmp_path) == (expected, [])


def test_another_layout_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no cohn-kanade-images here .*; unpack the images"):
        read("ck-plus", tmp_path)
    write(tmp_path / "cohn-kanade-images" / "readme.txt")
    with pytest.raises(DataError, match="no Emotion or Emotion_labels/Emotion or"):
        read("ck-plus", tmp_path)
