"""Smoothed predictions against means of the softmax, written as loops."""

import numpy as np
import pyarrow
import pytest
from scipy.special import softmax

from ferbench.data.load.image_store import ImageStore
from ferbench.errors import DataError
from ferbench.execution.smoothing import smoothed, tracks_of
from tests.support.refusals import refused


class Store(ImageStore):
    """Images of which ids and videos are known."""

    def __init__(self, ids: list[str], videos: list[str | None]) -> None:
        self.meta = {"name": "frames"}
        self.ids = ids
        self._manifest = pyarrow.table({"video": pyarrow.array(videos, pyarrow.string())})


@pytest.mark.parametrize("window", [3, 5, 41])
def test_a_frame_is_the_mean_of_the_window_around_it(window: int) -> None:
    logits = np.random.default_rng(0).normal(0, 3, (20, 4)).astype(np.float16)
    tracks = [[4, 2, 0, 1, 3], list(range(5, 19)), [19]]
    found = smoothed(logits, tracks, window)
    assert found.dtype == np.float16
    p = softmax(logits.astype(float), axis=1)
    for track in tracks:
        for middle, place in enumerate(track):
            near = [track[at] for at in range(len(track)) if abs(at - middle) <= window // 2]
            expected = sum(p[other] for other in near) / len(near)
            np.testing.assert_allclose(softmax(found[place].astype(float)), expected, rtol=5e-3, atol=1e-4)


def test_impossible_classes_stay_so() -> None:
    logits = np.array([[60000, 0, -60000], [60000, -60000, 0]], np.float16)
    assert np.isfinite(smoothed(logits, [[0, 1]], 3)).all()
    assert smoothed(logits, [[0, 1]], 3).argmax(1).tolist() == [0, 0]


def test_a_track_is_a_face_of_a_video_in_the_order_of_ids() -> None:
    ids = ["v5_left/00010", "v5_right/00001", "v5_left/00002", "v6/00001", "flat", "flat2", "v5_left/00003"]
    videos: list[str | None] = ["v5", "v5", "v5", "v6", "v7", "v8", "v5"]
    rows = [0, 1, 2, 3, 4, 5, 6]
    assert tracks_of(Store(ids, videos), rows) == [[2, 6, 0], [1], [3], [4], [5]]
    assert tracks_of(Store(ids, videos), [6, 1, 0]) == [[0, 2], [1]]


def test_an_image_of_no_video_is_refused() -> None:
    with refused(DataError, "'frames'", "the video of every image", "1 of 2"):
        tracks_of(Store(["a/1", "b/1"], ["a", None]), [0, 1])
