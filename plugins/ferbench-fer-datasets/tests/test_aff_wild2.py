"""Aff-Wild2: line i is frame i, whatever is not annotated or has no image is left out."""

import os
import shutil
from pathlib import Path

import pytest
from tests.support.refusals import refused

from ferbench.cells.resolve import check_groups
from ferbench.contract.dataset import Damage
from ferbench.discovery.loader import builtin_protocols, builtin_registry
from ferbench.errors import DataError, UsageError
from ferbench_fer_datasets.aff_wild2 import AffWild2

from fer_lookalikes.aff_wild2 import CHALLENGE, HEADER, build
from fer_lookalikes.expected import Expected, read, shade_of, write, write_image


def test_round_trip(tmp_path: Path) -> None:
    expected = build(tmp_path)["aff-wild2"]
    assert len(expected) == 16
    assert read("aff-wild2", tmp_path) == (expected, [])


def test_two_people_of_a_video_are_of_one_video(tmp_path: Path) -> None:
    build(tmp_path)
    samples, _ = read("aff-wild2", tmp_path)
    assert {row.id.partition("/")[0] for row in samples if row.video == "video5"} == {"video5_left", "video5_right"}


def test_class_sets(tmp_path: Path) -> None:
    info = AffWild2(tmp_path).info
    assert info.classes[info.default_classes] == (*info.classes["7"], "other")
    assert sum(info.official["train"].values()) == 585_317


def test_annotations_of_two_challenges_are_not_one_set(tmp_path: Path) -> None:
    build(tmp_path)
    shutil.copytree(tmp_path / CHALLENGE, tmp_path / "3rd ABAW Annotations" / "EXPR_Classification_Challenge")
    with refused(DataError, "ABAW Annotations", "--root"):
        read("aff-wild2", tmp_path)


def test_a_folder_of_frames_that_leads_out_costs_its_video(tmp_path: Path) -> None:
    expected = build(tmp_path / "set")["aff-wild2"]
    frames = tmp_path / "set" / "cropped_aligned_new_50_vids" / "video74"
    frames.rename(tmp_path / "video74")
    frames.symlink_to(tmp_path / "video74")
    samples, (damage,) = read("aff-wild2", tmp_path / "set")
    assert samples == [row for row in expected if row.video != "video74"]
    assert "leads out of" in damage.reason


def test_its_labels_are_drawn_by_video(tmp_path: Path) -> None:
    info = AffWild2(tmp_path).info
    check_groups(builtin_registry(), builtin_protocols()["abaw-expr-v1"], info)
    for name in ("ratio-v1", "count-v1", "external-v1", "subject-folds-v1"):
        with refused(UsageError, f"'{name}'", "by video", "--protocol abaw-expr-v1"):
            check_groups(builtin_registry(), builtin_protocols()[name], info)


def test_the_challenges_without_other(tmp_path: Path) -> None:
    annotations = tmp_path / "annotations" / "EXPR_Set"
    header = HEADER.removesuffix(",Other")
    write(annotations / "Training_Set" / "video1.txt", f"{header}\r\n6\r\n-1\r\n7\r\n0\r\n\r\n")
    write(annotations / "Validation_Set" / "video2.txt", f"{header}\n3")
    for name in ("video1/00001", "video1/00002", "video1/00003", "video1/00004", "video2/00001"):
        write_image(tmp_path / "cropped_aligned" / "cropped_aligned" / f"{name}.jpg")
    samples, damages = read("aff-wild2", tmp_path)
    assert samples == [
        Expected("video1/00001", "train", "surprise", shade_of("00001.jpg"), video="video1"),
        Expected("video1/00004", "train", "neutral", shade_of("00004.jpg"), video="video1"),
        Expected("video2/00001", "test", "fear", shade_of("00001.jpg"), video="video2"),
    ]
    reason = "label '7' must be one of -1, 0, 1, 2, 3, 4, 5, 6"
    assert damages == [Damage("annotations/EXPR_Set/Training_Set/video1.txt:4", reason)]


def test_batches_beside_each_other_in_one_folder(tmp_path: Path) -> None:
    expected = build(tmp_path)["aff-wild2"]
    (tmp_path / "frames").mkdir()
    for batch in ("cropped_aligned", "cropped_aligned_new_50_vids"):
        (tmp_path / batch).rename(tmp_path / "frames" / batch)
    (tmp_path / CHALLENGE).rename(tmp_path / CHALLENGE.parent / "EXPR_Classification_Challenge")
    assert read("aff-wild2", tmp_path) == (expected, [])


def test_damage_costs_a_line_or_a_video(tmp_path: Path) -> None:
    expected = build(tmp_path)["aff-wild2"]
    train = tmp_path / CHALLENGE / "Train_Set"
    write(train / "10-60-1280x720.txt", f"{HEADER}\n-1\nx\n0\n8\n4\n5.0\n")
    write(train / "video5_left.txt", "1\n1\n")
    (train / "video5_right.txt").write_bytes(HEADER.encode() + b"\n\xff\n")
    shutil.rmtree(tmp_path / "cropped_aligned_new_50_vids" / "video74")
    for path in list((tmp_path / "cropped_aligned" / "8-30-1280x720").iterdir()):
        path.rename(path.with_stem(f"frame{path.stem}"))
    samples, damages = read("aff-wild2", tmp_path)
    assert [row.id for row in samples] == ["10-60-1280x720/00005"]
    assert samples[0] in expected
    found = {damage.record.removeprefix(f"{CHALLENGE}/"): damage.reason for damage in damages}
    known = "must be one of -1, 0, 1, 2, 3, 4, 5, 6, 7"
    assert [found[f"Train_Set/10-60-1280x720.txt:{n}"] for n in (3, 5, 7)] == [
        f"label '{text}' {known}" for text in ("x", "8", "5.0")
    ]
    assert found["Train_Set/video5_left.txt:1"].startswith(f"the header is '1'; it must be {HEADER.lower()}")
    assert "video5_right.txt:2: not UTF-8" in found["Train_Set/video5_right.txt"]
    assert found["Train_Set/video74.txt"].startswith("there are no frames of video74 in ")
    assert found["Validation_Set/8-30-1280x720.txt"].startswith("none of its 8 labeled frames are in ")
    assert len(damages) == 7


def test_no_frame_is_asked_for_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(tmp_path)
    # What is missing is looked for in all folders, yet not among the frames.
    shutil.rmtree(tmp_path / "cropped_aligned_new_50_vids")
    frames = [os.fspath(path) for path in tmp_path.rglob("*.jpg")]
    asked: list[str] = []
    real_stat = os.stat

    def stat(path: str, *args: object, **options: object) -> os.stat_result:
        asked.append(os.fspath(path))
        return real_stat(path, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "stat", stat)
    read("aff-wild2", tmp_path)
    AffWild2(tmp_path).source_digest()
    assert asked
    assert not set(frames) & set(asked)


def test_the_digest_changes_with_annotations_and_frames(tmp_path: Path) -> None:
    build(tmp_path)
    digests = [AffWild2(tmp_path).source_digest()]
    write_image(tmp_path / "cropped_aligned_new_50_vids" / "video74" / "00003.jpg")
    os.utime(tmp_path / "cropped_aligned_new_50_vids" / "video74", ns=(1, 1))
    digests.append(AffWild2(tmp_path).source_digest())
    write(tmp_path / CHALLENGE / "Train_Set" / "video74.txt", f"{HEADER}\n6\n")
    digests.append(AffWild2(tmp_path).source_digest())
    assert digests[-1] == AffWild2(tmp_path).source_digest()
    assert len(set(digests)) == 3


def test_another_layout_is_one_error(tmp_path: Path) -> None:
    with refused(DataError, "EXPR_Classification_Challenge", "unpack"):
        read("aff-wild2", tmp_path)
    (tmp_path / CHALLENGE / "Train_Set").mkdir(parents=True)
    with refused(DataError, "cropped_aligned/cropped_aligned", "unpack"):
        read("aff-wild2", tmp_path)
    (tmp_path / "cropped_aligned").mkdir()
    with pytest.raises(DataError, match="no Validation_Set here"):
        read("aff-wild2", tmp_path)
