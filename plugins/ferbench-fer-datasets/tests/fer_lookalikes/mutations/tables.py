"""Lists with other columns, rows, delimiters and encodings, as spreadsheets and scripts write them."""

import csv
import gzip
import io
import random
import re
from collections.abc import Callable
from pathlib import Path

from fer_lookalikes.damaging import IMAGES, Tree
from fer_lookalikes.mutations.kinds import Mutation, files

Rows = list[list[str]]

TABLES = (".csv", ".lst", ".txt")
BY_PLACE = ("fer2013.csv", "fer2013new.csv")
"""Lists whose rows mean something by their place, as those of Aff-Wild2 do."""
OPTIONAL = ("manifest.csv",)
"""Lists that may be without a column: who takes it away takes labels or splits away."""
NAMES = (
    *("label", "emotion", "Expression", "class_id", "y", "Usage", "split", "subset", "path", "image", "file_name", ""),
    *("x0", "id", "votes", "expression", "target", "emotion_label", "pixels", "0"),
)


def _table(tree: Tree) -> tuple[Path, str] | None:
    """A list and its text."""
    texts = [(path, path.read_bytes()) for path in files(tree, *TABLES)]
    if not (found := [(path, content) for path, content in texts if content.strip() and b"\0" not in content]):
        return None
    path, content = tree.chance.choice(found)
    return path, content.decode("utf-8", "surrogateescape")


def _write(path: Path, text: str) -> None:
    path.write_bytes(text.encode("utf-8", "surrogateescape"))


def _of_rows(change: Callable[[random.Random, Rows], Rows], *, moves: bool = False, loses: bool = False) -> Mutation:
    """The mutation that changes the rows of a list.

    One that `moves` them leaves lists that go by place, one that `loses` a column those that need not have it.
    """

    def mutation(tree: Tree) -> None:
        if (found := _table(tree)) is None:
            return
        path, text = found
        if moves and (path.name in BY_PLACE or path.parent.name.endswith("_Set")):
            return
        if loses and path.name in OPTIONAL:
            return
        delimiter = max(",;\t ", key=text.partition("\n")[0].count)
        other = tree.chance.choice(",;\t |:") if change is other_delimiter else delimiter
        try:
            rows = change(tree.chance, [row for row in csv.reader(io.StringIO(text), delimiter=delimiter) if row])
        except (csv.Error, IndexError, ValueError):  # it was damaged before
            return
        buffer = io.StringIO()
        csv.writer(buffer, delimiter=other, lineterminator="\n").writerows(rows)
        _write(path, buffer.getvalue())

    mutation.__name__ = change.__name__
    return mutation


def other_delimiter(chance: random.Random, rows: Rows) -> Rows:
    return rows


def column_renamed(chance: random.Random, rows: Rows) -> Rows:
    rows[0][chance.randrange(len(rows[0]))] = chance.choice(NAMES)
    return rows


def columns_in_another_order(chance: random.Random, rows: Rows) -> Rows:
    order = chance.sample(range(len(rows[0])), len(rows[0]))
    return [[row[place] for place in order] if len(row) == len(order) else row for row in rows]


def column_added(chance: random.Random, rows: Rows) -> Rows:
    kinds = (["train", "test"], ["happy", "sad", "fear"], ["0", "1", "2"], ["0.5", "0.1"], [""], ["a.jpg"])
    place, values = chance.randrange(len(rows[0]) + 1), chance.choice(kinds)
    cells = [chance.choice(NAMES), *(values[number % len(values)] for number in range(len(rows) - 1))]
    return [[*row[:place], cell, *row[place:]] for row, cell in zip(rows, cells, strict=True)]


def column_gone(chance: random.Random, rows: Rows) -> Rows:
    place = chance.randrange(len(rows[0]))
    return [row[:place] + row[place + 1 :] for row in rows]


def header_otherwise(chance: random.Random, rows: Rows) -> Rows:
    """It is gone, stands twice, in the middle, or after a title."""
    middle = len(rows) // 2
    again = rows[:middle] + rows[:1] + rows[middle:]
    return chance.choice([rows[1:], rows[:1] + rows, again, [["# faces"], *rows], [[""], *rows]])


def rows_gone(chance: random.Random, rows: Rows) -> Rows:
    return rows[:1] + chance.sample(rows[1:], len(rows[1:]) // 2)


def rows_twice(chance: random.Random, rows: Rows) -> Rows:
    return rows + chance.sample(rows[1:], len(rows[1:]) // 2)


def rows_in_another_order(chance: random.Random, rows: Rows) -> Rows:
    return rows[:1] + chance.sample(rows[1:], len(rows[1:]))


def paths_otherwise(chance: random.Random, rows: Rows) -> Rows:
    """Names of images are as another machine has them."""
    before = chance.choice(("", "", "./", "/home/user/data/", "C:\\data\\", "images/", "../"))
    slash, upper = chance.choice(("/", "/", "\\", "//")), chance.random() < 0.2
    for row in rows:
        for place, cell in enumerate(row):
            if cell.lower().endswith(IMAGES):
                named = before + cell.replace("/", slash)
                row[place] = named.upper() if upper else named
    return rows


def cells_otherwise(chance: random.Random, rows: Rows) -> Rows:
    """All fields of a column in another spelling."""
    place = chance.randrange(len(rows[0]))
    form = chance.choice((" {} ", '"{}"', "{}.0", "0{}", "{}\xa0", "'{}", "+{}", "UPPER", "Title"))
    for row in rows[1:]:
        if place < len(row):
            changed = {"UPPER": row[place].upper(), "Title": row[place].title()}
            row[place] = changed.get(form) or form.format(row[place])
    return rows


OF_ROWS: list[Mutation] = [
    *map(_of_rows, (other_delimiter, column_renamed, columns_in_another_order, column_added)),
    *map(_of_rows, (paths_otherwise, cells_otherwise)),
    _of_rows(column_gone, loses=True),
    *(_of_rows(change, moves=True) for change in (header_otherwise, rows_gone, rows_twice, rows_in_another_order)),
]

OUT_OF_RANGE = (
    *("9" * 30, "9" * 5000, "1e308", "-1e308", "1e400", "inf", "-inf", "nan", "-0", "0x10", "1_0", "\u0663", "1e-320"),
    *("2147483648", "-9"),
)


def number_out_of_range(tree: Tree) -> None:
    """A number in a line is one that no such field has."""
    if (found := _table(tree)) is None:
        return
    path, text = found
    if numbers := list(re.finditer(r"(?<![\w.])-?\d+(\.\d+)?(?![\w.])", text)):
        match = tree.chance.choice(numbers)
        number = text.count("\n", 0, match.start())
        tree.lines.append((path, number + 1, text.split("\n")[number]))
        _write(path, text[: match.start()] + tree.chance.choice(OUT_OF_RANGE) + text[match.end() :])


ENCODINGS: list[Callable[[str], bytes]] = [
    lambda text: b"\xef\xbb\xbf" + text.encode(),
    lambda text: text.encode("utf-16"),
    lambda text: text.encode("utf-32"),
    lambda text: text.replace("\n", "\r\n").encode(),
    lambda text: text.replace("\n", "\r").encode(),
    lambda text: text.replace("\n", "\n\n").encode(),
    lambda text: text.replace("\n", "\u2028").encode(),
    lambda text: text.encode() + bytes(5000),
    lambda text: text.encode() + b"\x1a",
    lambda text: gzip.compress(text.encode(), mtime=0),
    lambda text: text.encode() + "# für Gesichter\n".encode("latin-1"),
    lambda text: b"# made by hand\n" + text.encode(),
    lambda text: b"sep=,\n" + text.encode(),
    lambda text: text.replace("\n", ",\n").encode(),
]


def other_encoding(tree: Tree) -> None:
    """A list is in another encoding, has other line ends, or lines of a spreadsheet."""
    if found := _table(tree):
        path, text = found
        path.write_bytes(tree.chance.choice(ENCODINGS)(text.encode("utf-8", "replace").decode()))
