"""Aff-Wild2 for ABAW: two batches of frames, two people in a video, frames without a label and without an image."""

from pathlib import Path

from fer_lookalikes.expected import Expected, shade_of, write, write_image

CHALLENGE = Path("6th ABAW Annotations") / "EXPR_Recognition_Challenge"
NAMES = ("neutral", "anger", "disgust", "fear", "happiness", "sadness", "surprise", "other")
HEADER = "Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise,Other"
TRACKS = [  # split, folder, track, video, label of each frame from 1, frames that have an image
    ("train", "cropped_aligned", "10-60-1280x720", "10-60-1280x720", (-1, 0, 0, 7, 4, 5), (1, 2, 4, 5, 6, 7, 8)),
    ("train", "cropped_aligned", "video5_left", "video5", (1, 1, -1), (1, 3)),
    ("train", "cropped_aligned", "video5_right", "video5", (2, 3), (1, 2)),
    ("train", "cropped_aligned_new_50_vids", "video74", "video74", (6, 6, 6), (2,)),
    ("test", "cropped_aligned", "8-30-1280x720", "8-30-1280x720", (0, 1, 2, 3, 4, 5, 6, 7), range(1, 9)),
    ("test", "cropped_aligned", "video9", "video9", (-1, -1), (1,)),
]
SETS = {"train": "Train_Set", "test": "Validation_Set"}


def build(root: Path) -> dict[str, list[Expected]]:
    """Six annotations of five videos; a frame counts where it has a label and an image."""
    expected = []
    for split, batch, track, video, labels, images in TRACKS:
        lines = [HEADER, *map(str, labels)]
        write(root / CHALLENGE / SETS[split] / f"{track}.txt", "\n".join(lines) + "\n")
        for frame in images:
            write_image(root / batch / track / f"{frame:05d}.jpg")
        labeled = ((frame, label) for frame, label in enumerate(labels, 1) if label >= 0 and frame in images)
        expected += [
            Expected(f"{track}/{frame:05d}", split, NAMES[label], shade_of(f"{frame:05d}.jpg"), video=video)
            for frame, label in labeled
        ]
    write(root / CHALLENGE / "Train_Set" / "._video74.txt", "of another system")
    write(root / "6th ABAW Annotations" / "VA_Estimation_Challenge" / "Train_Set" / "video74.txt", "valence\n")
    write(root / "cropped_aligned" / ".DS_Store")
    write_image(root / "cropped_aligned" / "of_the_test_set" / "00001.jpg")
    return {"aff-wild2": expected}
