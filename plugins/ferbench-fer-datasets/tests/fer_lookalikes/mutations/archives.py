"""Parquet files and tar files that hold the same in another way."""

import io
import re
import tarfile
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pyarrow.parquet

from fer_lookalikes.damaging import Tree
from fer_lookalikes.expected import grey_image
from fer_lookalikes.mutations.kinds import files
from fer_lookalikes.mutations.tables import NAMES

Members = list[tuple[str, bytes]]


def parquet_otherwise(tree: Tree) -> None:
    """A column is called otherwise, of another type or there twice; rows are fewer or in another order."""
    if not (found := files(tree, ".parquet")):
        return
    path = tree.chance.choice(found)
    try:
        table = pyarrow.parquet.read_table(path)
        place = tree.chance.randrange(table.num_columns)
        made = tree.chance.choice(_tables(table, place, tree.chance.choice(NAMES)))()
        pyarrow.parquet.write_table(made, path, row_group_size=tree.chance.choice((1, 2, 1000)))
    except (pyarrow.ArrowException, ValueError, OSError):  # it was damaged before, or there is no such table
        return


def _tables(table: pyarrow.Table, place: int, other: str) -> list[Callable[[], pyarrow.Table]]:
    name, column = table.column_names[place], table.column(place)
    names = [other if number == place else one for number, one in enumerate(table.column_names)]
    return [
        lambda: table.rename_columns(names),
        lambda: table.append_column(other, column),
        lambda: table.set_column(place, name, pyarrow.array([[cell] for cell in column.to_pylist()])),
        lambda: table.set_column(place, name, column.cast(pyarrow.string()).cast(pyarrow.binary())),
        lambda: table.set_column(place, name, column.dictionary_encode()),
        lambda: table.set_column(place, name, column.cast(pyarrow.string())),
        lambda: table.select(table.column_names[::-1]),
        lambda: table.replace_schema_metadata(None),
        lambda: table.take(list(range(len(table)))[::-1]),
        lambda: table.slice(0, len(table) // 2),
        lambda: pyarrow.concat_tables([table, table]),
    ]


def members_otherwise(tree: Tree) -> None:
    """The members of a tar file stand in another order, under other names, or are compressed."""
    if not (found := files(tree, ".tar")):
        return
    path = tree.chance.choice(found)
    try:
        members = _members(path)
    except (tarfile.TarError, OSError, EOFError, ValueError):  # it was damaged before
        return
    made = tree.chance.choice(_otherwise(tree, members))()
    path.unlink()
    kind = tree.chance.choice((tarfile.PAX_FORMAT, tarfile.GNU_FORMAT))
    with tarfile.open(path, tree.chance.choice(("w", "w", "w", "w:gz")), format=kind) as archive:
        for name, content in made:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def _members(path: Path) -> Members:
    with tarfile.open(path) as archive:
        files_of = [(member.name, archive.extractfile(member)) for member in archive if member.isfile()]
        return [(name, content.read()) for name, content in files_of if content]


def _otherwise(tree: Tree, members: Members) -> list[Callable[[], Members]]:
    before = tree.chance.choice(("./", "data/train/", "a.b/", "../", "/", f"{'x' * 120}/", ".hidden/", "ä/"))
    suffix = tree.chance.choice((".label", ".class", ".text", ".cls.txt", ".JSON", ".CLS", ".emotion", ".caption"))
    strange = [
        ("deep.json", b"[" * 100_000),
        ("z.jpg", grey_image(4)),
        ("z.json", b'{"label": "\\ud800", "split": []}'),
    ]

    def renamed(pattern: str, other: str) -> Callable[[], Members]:
        return lambda: [(re.sub(pattern, other, name), content) for name, content in members]

    def rewritten(pattern: bytes, other: bytes) -> Callable[[], Members]:
        return lambda: [(name, re.sub(pattern, other, content)) for name, content in members]

    return [
        *(lambda: sorted(members, key=lambda member: member[0].rpartition(".")[2]), lambda: members[::-1]),
        *(lambda: members + members[:2], lambda: members + strange),
        *(renamed("^", before), renamed(r"\.(cls|txt|json)$", suffix), renamed(r"\.(jpg|png)$", r".face.\1")),
        lambda: [(name.upper(), content) for name, content in members],
        *(
            rewritten(b"happy|fear", b"3"),
            rewritten(b'"label"', b'"emotion"'),
            rewritten(b"^(happy|sad)", b"\xff\xfe\\1"),
        ),
    ]
