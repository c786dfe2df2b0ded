"""FER2013: pixels become images, variants of its CSV file, and folders with both test sets."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.support.refusals import refused

from ferbench.errors import DataError
from ferbench_fer_datasets.fer2013 import OFFICIAL, pgm

from fer_lookalikes import fer2013, fer2013_folders, fer2013_icml
from fer_lookalikes.expected import damage, open_set, read, replace_line
from fer_lookalikes.fer2013 import pixels

CSV = "fer2013/fer2013.csv"


def test_pixels_are_those_of_the_row() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (48, 48), dtype=np.uint8)
    with Image.open(io.BytesIO(pgm(" ".join(map(str, grey.ravel()))))) as image:
        assert np.array_equal(np.asarray(image), grey)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (pixels(0)[2:], "2303 pixels instead of 2304"),
        (pixels(0) + " 0", "2305 pixels"),
        ("", "0 pixels"),
        (pixels(256), "a pixel is not an integer from 0 to 255"),
        (pixels(-1), "a pixel is not an integer"),
        (pixels(0)[:-1] + "0.5", "a pixel is not an integer"),
        (pixels(0)[:-1] + "1_0", "a pixel is not an integer"),
        ("9" * 5000, "a pixel is not an integer"),
    ],
)
def test_what_is_no_image_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        pgm(text)


def test_every_row_that_says_nothing_is_named(tmp_path: Path) -> None:
    fer2013.build(tmp_path)
    wrong = {
        3: (f"7,{pixels(1)},Training", "label '7' must be one of 0, 1, 2, 3, 4, 5, 6"),
        4: (f"1,{pixels(1)},Test", "usage 'Test' must be one of Training, PublicTest, PrivateTest"),
        5: ("1,70 80,Training", "2 pixels instead of 2304"),
        6: (f"1,{pixels(1)}", "2 fields instead of 3"),
        7: (f'1,"{pixels(1)},Training', "unexpected end of data"),
    }
    for number, (line, _) in wrong.items():
        replace_line(tmp_path / CSV, number, line)
    found = damage("fer2013", tmp_path)
    assert found == {f"{CSV}:{number}": reason for number, (_, reason) in wrong.items()}
    assert [s.id for s in read("fer2013", tmp_path)[0] if s.split == "train"] == ["row00000"], "ids count damaged rows"


def test_wrong_folders_are_named(tmp_path: Path) -> None:
    fer2013_folders.build(tmp_path)
    (tmp_path / "train/contempt").mkdir()
    (tmp_path / "test/sad").rename(tmp_path / "test/saad")
    found = damage("fer2013-folders", tmp_path)
    assert found.keys() == {"train/contempt", "test/saad"}
    assert "did you mean 'sad'?" in found["test/saad"]


def test_only_a_table_with_splits_and_labels_will_do(tmp_path: Path) -> None:
    with refused(DataError, "fer2013.csv", "icml_face_data.csv", "Kaggle"):
        read("fer2013", tmp_path)
    fer2013_icml.build(tmp_path)
    (tmp_path / "icml_face_data.csv").unlink()
    with refused(DataError, "train.csv", "test.csv"):
        read("fer2013", tmp_path)
    (tmp_path / "train.csv").rename(tmp_path / "fer2013.csv")
    with refused(DataError, "fer2013.csv:1", "'emotion,pixels'", "Usage"):
        read("fer2013", tmp_path)


def test_the_official_numbers_add_up(tmp_path: Path) -> None:
    sums = {split: sum(counts.values()) for split, counts in OFFICIAL.items()}
    assert sums == {"train": 28709, "validation": 3589, "test": 3589}
    folders = open_set("fer2013-folders", tmp_path).info.official
    assert {split: sum(counts.values()) for split, counts in folders.items()} == {"train": 28709, "test": 7178}
