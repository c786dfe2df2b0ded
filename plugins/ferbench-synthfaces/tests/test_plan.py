import numpy as np
import pytest

from ferbench_synthfaces.render.plan import (
    CLASSES,
    POOL_INTENSITY,
    RAF_DB_TRAIN,
    SetPlan,
    class_counts,
    identity_rng,
    image_rng,
    plan_split,
    pool_counts,
)


@pytest.mark.parametrize("count", [1, 33, 3100, 8250, 50_000])
def test_classes_follow_raf_db(count: int) -> None:
    counts = class_counts(count)
    assert sum(counts.values()) == count
    assert set(counts) == set(CLASSES)
    assert abs(counts["contempt"] - 0.03 * count) <= 0.5
    rest = count - counts["contempt"]
    for name, images in RAF_DB_TRAIN.items():
        assert abs(counts[name] - rest * images / sum(RAF_DB_TRAIN.values())) < 1


def test_the_seven_class_parts_of_the_shipped_set_are_large_enough() -> None:
    for count, wanted in ((8250, 8000), (3100, 3000)):
        counts = class_counts(count)
        assert count - counts["contempt"] >= wanted


def test_the_pool_is_mostly_neutral_and_mild() -> None:
    counts = pool_counts(8000)
    assert (counts["neutral"], counts["happiness"]) == (4800, 2000)
    assert sum(counts.values()) == 8000
    assert SetPlan("x", 0, 64, 0, 0, 8000).difficulty("unlabeled").intensity == POOL_INTENSITY


def test_people_appear_in_one_to_three_images() -> None:
    subjects = plan_split(3, "train", 3000).subjects
    _, images = np.unique(subjects, return_counts=True)
    assert images.min() >= 1
    assert images.max() <= 3
    assert 1.9 < images.mean() < 2.1


def test_neighbours_tell_nothing() -> None:
    plan = plan_split(3, "train", 4000)
    shares = np.array(list(class_counts(4000).values())) / 4000
    repeats = np.mean([first == second for first, second in zip(plan.labels, plan.labels[1:], strict=False)])
    assert repeats == pytest.approx((shares**2).sum(), abs=0.03)
    assert np.mean(np.diff(plan.subjects) == 0) < 0.01


def test_streams_are_apart() -> None:
    draws = [identity_rng(1, split, 4).random() for split in ("train", "test", "unlabeled")]
    draws += [image_rng(1, split, 4).random() for split in ("train", "test", "unlabeled")]
    draws += [identity_rng(2, "train", 4).random(), image_rng(2, "train", 4).random()]
    assert len(set(draws)) == len(draws)
