"""Averages the predictions of video frames over neighbouring frames."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ferbench.data.load.image_store import ImageStore
from ferbench.records.metrics import to_float16


def tracks_of(images: ImageStore, rows: Sequence[int]) -> list[list[int]]:
    """The positions in `rows` of the frames of each track, in the order of ids.

    A track is a face in a video: frames with the same video and the same id up to its last slash (`video5_left/00012`).
    Raises DataError if an image belongs to no video.
    """
    videos, found = images.groups("video"), defaultdict(list)
    for place, row in enumerate(rows):
        found[videos[row], images.ids[row].rpartition("/")[0]].append(place)
    return [sorted(places, key=lambda place: images.ids[rows[place]]) for places in found.values()]


def smoothed(logits: NDArray[np.float16], tracks: Sequence[Sequence[int]], window: int) -> NDArray[np.float16]:
    """Logits (N, C) whose softmax is the mean softmax of `window` frames (odd) around each frame of a track.

    At both ends of a track the mean is over the existing frames. Frames without a face have no prediction, and so no
    place in the window.
    """
    from scipy.special import log_softmax, logsumexp  # not at the top of the file: most cells do not need it

    made, half = np.empty(logits.shape), window // 2
    for track in tracks:
        log_p = log_softmax(logits[track].astype(np.float64), axis=1)
        padded = np.pad(log_p, ((half, half), (0, 0)), constant_values=-np.inf)
        windows = np.lib.stride_tricks.sliding_window_view(padded, window, axis=0)  # (frames, C, window)
        counts = np.isfinite(windows[:, :1]).sum(-1)
        made[track] = logsumexp(windows, axis=-1) - np.log(counts)
    return to_float16(made)
