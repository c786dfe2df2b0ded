"""ExpW: several faces in an image, boxes as top, left, right, bottom, and lines that occur twice."""

from pathlib import Path

from fer_lookalikes.expected import Expected, shade_of, write, write_image

LINES = """\
angry_actor_104.jpg 0 2 11 21 14 22.9362 0
happy_man_2.jpg 0 1 3 9 8 65.4000 3
happy_man_2.jpg 1 0 12 23 10 12.0000 6
angry_actor_104.jpg 1 5 0 8 15 9.5000 1
angry_actor_104.jpg 0 2 11 21 14 22.9362 0
afraid_African_214.jpg 0 4 4 20 12 31.2500 2
disgusted dog 1.jpg 3 0 0 24 16 40.0000 1
sad_child_3.jpg 0 1 1 11 12 50.0000 4

amazed_girl_9.jpg 0 3 2 14 13 50.0000 5
calm_boy_2.jpg 0 3 2 14 13 50.0000 6
happy_man_2.jpg 1 0 12 23 10 12.0000 6
furious_woman_31.jpg 0 3 2 14 13 50.0000 0"""


def _face(face: str, split: str, label: str, box: tuple[float, float, float, float]) -> Expected:
    return Expected(face, split, label, shade_of(f"{face.rpartition('/')[0]}.jpg"), box=box)


# SHA-256 of happy_man_2.jpg begins with 1002, that of furious_woman_31.jpg with 0943, the others with 40 or more.
FACES = [
    _face("angry_actor_104/0", "train", "anger", (11, 2, 21, 14)),
    _face("happy_man_2/0", "test", "happiness", (3, 1, 9, 8)),
    _face("happy_man_2/1", "test", "neutral", (12, 0, 23, 10)),
    _face("angry_actor_104/1", "train", "disgust", (0, 5, 8, 15)),
    _face("afraid_African_214/0", "train", "fear", (4, 4, 20, 12)),
    _face("disgusted dog 1/3", "train", "disgust", (0, 0, 24, 16)),
    _face("sad_child_3/0", "train", "sadness", (1, 1, 11, 12)),
    _face("amazed_girl_9/0", "train", "surprise", (2, 3, 14, 13)),
    _face("calm_boy_2/0", "train", "neutral", (2, 3, 14, 13)),
    _face("furious_woman_31/0", "test", "anger", (2, 3, 14, 13)),
]


def build(root: Path) -> dict[str, list[Expected]]:
    """Ten faces of eight images, and an image without a face."""
    write(root / "label" / "label.lst", LINES)
    write(root / "label" / "readme.txt", "image_name face_id_in_image face_box_top ...")
    for name in {row.id.rpartition("/")[0] for row in FACES} | {"bored_clerk_8"}:
        write_image(root / "data" / "image" / "origin" / f"{name}.jpg", size=(24, 16))
    return {"expw": list(FACES)}
