"""FERPlus: its two files of votes, joined by row order alone or beside images, under five rules."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.support.refusals import refused

from ferbench.errors import DataError

from fer_lookalikes import ferplus, ferplus_label_csv
from fer_lookalikes.expected import damage, open_set, read, replace_line, write
from fer_lookalikes.fer2013 import pixels
from fer_lookalikes.ferplus import HEADER, RULES

LIST = "data/FER2013Train/label.csv"
NAMES = [f"{layout}{rule}" for layout in ("ferplus", "ferplus-label-csv") for rule in RULES] + ["ferplus-leaf"]


def test_rows_are_joined_by_their_order_and_not_by_names(tmp_path: Path) -> None:
    ferplus.build(tmp_path)
    shades = {sample.id: sample.shade for sample in read("ferplus-argmax-emotions", tmp_path)[0]}
    assert shades["row00004"] == 80, "fer0000002 is the image of row 4, since row 2 has no name"


def test_every_row_that_says_nothing_is_named(tmp_path: Path) -> None:
    ferplus.build(tmp_path)
    votes = {
        3: ("Training,fer0000001.png,6,0,1,1,0,0,0,0,2", "11 fields instead of 12"),
        5: ("Training,fer0000002.png,5,5,0,0,0,0,0,0,0,-1", "votes '5,5,0,0,0,0,0,0,0,-1' are not numbers"),
        6: ("Training,fer0000002.png,0,0,0,0,0,0,0,0,0,0", "there are no votes"),
        8: ("Training,fer0000004.png,0,9,1,0,0,0,0,0,0,0", "do not belong together"),
        9: ("Test,fer0000005.png,0,9,1,0,0,0,0,0,0,0", "usage 'Test' must be one of"),
    }
    for number, (line, _) in votes.items():
        replace_line(tmp_path / "fer2013new.csv", number, line)
    replace_line(tmp_path / "fer2013.csv", 11, "0,1 2 3,PrivateTest")
    replace_line(tmp_path / "fer2013.csv", 13, f"{pixels(0)},PrivateTest")
    found = damage("ferplus-argmax", tmp_path)
    assert found.keys() == {
        "fer2013new.csv:3",
        *(f"fer2013new.csv:{number} with fer2013.csv:{number}" for number in (5, 6, 8, 9, 11)),
        "fer2013.csv:13",
    }
    reasons = {record.partition(" ")[0]: reason for record, reason in found.items()}
    assert all(reason in reasons[f"fer2013new.csv:{number}"] for number, (_, reason) in votes.items())
    assert {s.id for s in read("ferplus-argmax", tmp_path)[0]} == {"row00000", "row00005", "row00008", "row00010"}


@pytest.mark.parametrize("short", ["fer2013new.csv", "fer2013.csv"])
def test_files_of_different_lengths_are_refused(tmp_path: Path, short: str) -> None:
    ferplus.build(tmp_path)
    lines = (tmp_path / short).read_text().split("\n")
    (tmp_path / short).write_text("\n".join(lines[:7]))
    with refused(DataError, short, "6 rows"):
        read("ferplus", tmp_path)


def test_every_line_of_a_list_that_says_nothing_is_named(tmp_path: Path) -> None:
    ferplus_label_csv.build(tmp_path)
    votes = "0,9,1,0,0,0,0,0,0,0"
    wrong = {
        2: (f'../FER2013Test/fer0000006.png,"(0, 0, 48, 48)",{votes}', "is not a path below"),
        3: (f'fer0000002.png,"(0, 0, 48)",{votes}', "'(0, 0, 48)' is not a face box"),
        4: (f'fer0000003.png,"(48, 0, 0, 48)",{votes}', "not a face box: 48, 0, 0, 48"),
        5: (f"fer0000007.png,(0, 0, 48, 48),{votes}", "15 fields instead of 12"),
        6: (f'fer0000008.png,"(0, 0, x, 48)",{votes}', "' x' is not a number"),
        7: (f'fer0000009.png,"(0, 0, 48, 48),{votes}', "unexpected end of data"),
        8: ('fer0000010.png,"(0, 0, 48, 48)",0,9,1,0,0,0,0,0,0,many', "are not numbers"),
    }
    for number, (line, _) in wrong.items():
        lines = (tmp_path / LIST).read_text().split("\n")
        (tmp_path / LIST).write_text("\n".join([*lines[: number - 1], line, *lines[number:]]))
    found = damage("ferplus-label-csv", tmp_path)
    assert found.keys() == {f"{LIST}:{number}" for number in wrong}
    assert all(reason in found[f"{LIST}:{number}"] for number, (_, reason) in wrong.items())


def test_a_list_made_from_the_other_file_of_votes_is_refused(tmp_path: Path) -> None:
    ferplus_label_csv.build(tmp_path)
    text = (tmp_path / LIST).read_text().replace('"(0, 4, 46, 48)",', "")
    (tmp_path / LIST).write_text(text)
    with refused(DataError, "prepare ferplus-argmax"):
        read("ferplus-label-csv-argmax", tmp_path)
    write(tmp_path / "fer2013new.csv", "\n".join([HEADER, "Training,fer0000000.png,9,0,0,0,0,0,0,0,0,1"]))
    assert [sample.label for sample in read("ferplus-argmax", tmp_path)[0]] == ["neutral"], "as the error says"


def test_what_lacks_is_named(tmp_path: Path) -> None:
    with refused(DataError, "fer2013new.csv", "github.com/microsoft/FERPlus"):
        read("ferplus", tmp_path)
    (tmp_path / "fer2013new.csv").write_text(HEADER)
    with pytest.raises(DataError, match=r"no fer2013\.csv and no folder FER2013Train here .* has only votes"):
        read("ferplus", tmp_path)
    ferplus_label_csv.build(tmp_path)
    (tmp_path / "data/FER2013Valid").rename(tmp_path / "data/valid")
    with pytest.raises(DataError, match=r"no FER2013Valid/label\.csv here"):
        read("ferplus-leaf", tmp_path)


# The totals that are published or known, by dataset.
TOTALS: Mapping[str, Mapping[str, int]] = {
    "ferplus": {"train": 25060, "validation": 3199, "test": 3153},
    "ferplus-label-csv": {"train": 25045, "validation": 3191, "test": 3137},
    "ferplus-argmax": {"train": 28389, "validation": 3553, "test": 3546},
    "ferplus-argmax-emotions": {"train": 28561, "validation": 3579, "test": 3574},
    "ferplus-leaf": {"train": 28236, "test": 3137},
}


@pytest.mark.parametrize("name", NAMES)
def test_the_official_numbers_add_up(tmp_path: Path, name: str) -> None:
    official = open_set(name, tmp_path).info.official
    assert {split: sum(counts.values()) for split, counts in official.items()} == TOTALS.get(name, {})


@pytest.mark.parametrize("name", NAMES)
def test_the_rule_says_which_file_is_read(tmp_path: Path, name: str) -> None:
    info = open_set(name, tmp_path).info
    other = name.removeprefix("ferplus") not in RULES
    assert ("label.csv" in info.rule, "fer2013new.csv" in info.rule) == (other, not other)
