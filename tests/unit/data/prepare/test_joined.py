"""Labeled sets joined by names of classes: what of each is there, and what cannot be joined."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ferbench.contract.dataset import SEVEN_CLASSES, Damage, Dataset, DatasetInfo, Sample
from ferbench.data.prepare.joined import JoinedDataset, Part
from ferbench.errors import UsageError
from tests.support.refusals import refused


class Faces(Dataset):
    """A set of the samples that it is given."""

    def __init__(self, name: str, *samples: Sample | Damage, root: Path | None = None, **fields: Any) -> None:
        super().__init__(root, name)
        given = {"classes": {"7": SEVEN_CLASSES}, "default_classes": "7", "family": f"{name}-family", **fields}
        self._info, self._samples = DatasetInfo(name, name, "mine", **given), samples

    @property
    def info(self) -> DatasetInfo:
        return self._info

    def samples(self) -> Iterator[Sample | Damage]:
        yield from self._samples

    def source_digest(self) -> str:
        return f"digest of {self.name}"


def face(name: str, split: Any = "train", label: Any = "fear", **fields: Any) -> Sample:
    return Sample(name, name.encode(), split, label, **fields)


def joined(*datasets: Dataset, classes: tuple[str, ...] = SEVEN_CLASSES) -> JoinedDataset:
    return JoinedDataset(Path("here"), "all", [Part(each, "7", classes) for each in datasets])


def test_of_further_sets_the_training_images_of_the_task_are_taken() -> None:
    first = Faces("first", face("a"), face("b", "test"), face("c", "validation"), face("d", label="contempt"))
    votes = face("h", label={"fear": 0.4, "contempt": 0.6}), face("i", label={"fear": 0.6, "contempt": 0.4})
    second = Faces(
        "second", face("a"), face("e", "test"), face("f", "unlabeled", None), face("g", label="contempt"), *votes
    )
    made = joined(first, second)
    found = [(each.id, each.split, each.image) for each in made.samples() if isinstance(each, Sample)]
    assert found == [
        ("first/a", "train", b"a"),
        ("first/b", "test", b"b"),
        ("first/c", "validation", b"c"),
        ("first/d", "train", b"d"),
        ("second/a", "train", b"a"),
        ("second/i", "train", b"i"),
    ]
    assert (made.info.family, made.info.classes) == ("first-family", {"7": SEVEN_CLASSES})
    assert made.info.licence == "first: mine; second: mine"


def test_images_are_read_below_the_roots_of_their_sets(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "face.jpg").write_bytes(name.encode())
    outside = Sample("out", tmp_path / "one" / "face.jpg", "train", "fear")
    sets = [
        Faces(name, Sample("face", tmp_path / name / "face.jpg", "train", "fear"), root=tmp_path / name)
        for name in ("one", "two")
    ]
    made = joined(*sets, Faces("three", outside, Damage("list:3", "no label", "9"), root=tmp_path / "two"))
    one, two, out, damage = made.samples()
    assert (one.image, two.image) == (b"one", b"two")  # type: ignore[union-attr]
    assert isinstance(out, Damage) and out.record == "three/out" and "leads out" in out.reason
    assert damage == Damage("three/list:3", "no label")


def test_an_image_without_a_video_is_a_group_of_its_own_among_videos() -> None:
    frames = Faces("frames", face("v1/1", video="v1"), face("v1/2", video="v1"), rank_groups="video")
    made = joined(frames, Faces("stills", face("a", subject="anna"), face("b")))
    found = [(each.video, each.subject) for each in made.samples() if isinstance(each, Sample)]
    assert found == [
        ("frames/v1", None),
        ("frames/v1", None),
        ("stills/a", "stills/anna"),
        ("stills/b", None),
    ]
    assert made.info.rank_groups == "video"
    assert joined(Faces("stills", face("a")), Faces("more", face("b"))).info.rank_groups == "image"


def test_each_set_is_cut_as_it_was_prepared() -> None:
    box = (1.0, 2.0, 3.0, 4.0)
    whole, cut, other = (Faces(name, face("a", box=box)) for name in ("whole", "cut", "other"))
    cut.crop, other.crop = 0.1, 0.2
    made = joined(whole, cut)
    assert made.crop == 0.1
    assert [each.box for each in made.samples() if isinstance(each, Sample)] == [None, box]
    assert [each.box for each in joined(whole, Faces("b")).samples() if isinstance(each, Sample)] == [box]
    with refused(UsageError, "cut: 0.1, other: 0.2", "--crop"):
        joined(cut, other)


def test_sets_of_other_classes_or_groups_are_refused_by_name() -> None:
    with refused(UsageError, "'second' has the class fear, which 'first' lacks", "second@7", "omit"):
        JoinedDataset(
            Path("here"),
            "all",
            [Part(Faces("first"), "2", ("neutral", "anger")), Part(Faces("second"), "7", ("neutral", "fear"))],
        )
    with refused(UsageError, "a by video, b by subject"):
        joined(Faces("a", rank_groups="video"), Faces("b", rank_groups="subject"))


def test_the_digest_is_of_all_sets() -> None:
    a, b = Faces("a"), Faces("b")
    first = joined(a, b)
    assert first.source_digest() == joined(a, b).source_digest() != joined(b, a).source_digest()
    b.source_digest = lambda: "another"  # type: ignore[method-assign]
    assert (
        joined(a, b).source_digest()
        != JoinedDataset(Path("here"), "all", [Part(a, "7", SEVEN_CLASSES)]).source_digest()
    )


@pytest.mark.parametrize(("skips", "expected"), [((False, False), "stop"), ((False, True), "skip")])
def test_damage_is_left_out_where_a_set_was_prepared_so(skips: tuple[bool, bool], expected: str) -> None:
    sets = [Faces(name) for name in "ab"]
    for each, skip in zip(sets, skips, strict=True):
        each.on_bad_record = "skip" if skip else "stop"
    assert joined(*sets).on_bad_record == expected
