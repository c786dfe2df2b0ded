"""Records that somebody has tampered with: one change each, in strings, numbers, structure or files."""

import io
import json
import os
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

STRINGS = [
    *("\ud800", "half \udfff of it", "\0", "", " ", "\n", "a\r\nb", "\x1b[31mred\x1b[0m", "\u202egnp.exe", "\u200b"),
    *(
        "../../../etc/passwd",
        "/etc/passwd",
        "<script>alert(1)</script>",
        "=cmd|' /C calc'!A0",
        "](javascript:alert(1))",
    ),
    *("NaN", "null", "-1", "1e999", "$x$", "|", "`", "{{ 7 * 7 }}", "%s%n", "ſupervised", "é" * 300, "x" * 100_000),
    *("2026-99-99T99:99:99", "9999999-01-01", "\U0001f600", "a" * 64, "\ufeff"),
]
NUMBERS = [
    *("-1", "0", "1", "-0.0", "0.5", "9007199254740992", "9007199254740993", "1e308", "-1e308", "1e-320", "1e999"),
    *("NaN", "Infinity", "-Infinity", "1" + "0" * 4000, "1" + "0" * 5000, "0.1" + "0" * 1000, "true", '"5"', "null"),
    *("4294967296", "2147483648", "1E+2", "1000000000", "[]", "{}"),
]


def _leaves(value: Any, kinds: type | tuple[type, ...], at: tuple[str | int, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Places of the values of some types."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(inner, kinds, (*at, key))
    elif isinstance(value, kinds) and not isinstance(value, bool):
        yield at


def _containers(value: Any, at: tuple[str | int, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, dict | list):
        yield at
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _containers(inner, (*at, key))


def _get(value: Any, at: tuple[Any, ...]) -> Any:
    for key in at:
        value = value[key]
    return value


class Raw(str):
    """Text that stands in the JSON as it is."""


def _dump(value: Any) -> bytes:
    """JSON with raw parts."""
    raw: list[str] = []

    def marked(inner: Any) -> Any:
        if isinstance(inner, Raw):
            raw.append(str(inner))
            return f"@raw{len(raw) - 1}@"
        if isinstance(inner, dict):
            return {key: marked(item) for key, item in inner.items()}
        return [marked(item) for item in inner] if isinstance(inner, list) else inner

    text = json.dumps(marked(value))
    return re.sub(r'"@raw(\d+)@"', lambda match: raw[int(match[1])], text).encode()


def string(chance: random.Random, value: Any) -> Any:
    """Another text in one place, or in all that have the same: then the record still fits together."""
    places = list(_leaves(value, str))
    at, new = chance.choice(places), chance.choice(STRINGS)
    old = _get(value, at)
    if chance.random() < 0.4 and old:
        text = json.dumps(value).replace(json.dumps(old), json.dumps(new))
        return Raw(text)
    _get(value, at[:-1])[at[-1]] = new
    return value


def number(chance: random.Random, value: Any) -> Any:
    """Another number, or what is none."""
    at = chance.choice(list(_leaves(value, (int, float))))
    _get(value, at[:-1])[at[-1]] = Raw(chance.choice(NUMBERS))
    return value


def structure(chance: random.Random, value: Any) -> Any:
    """A part less, more, twice, of another kind, much too deep or long."""
    at = chance.choice(list(_containers(value)))
    node = _get(value, at)
    deep = chance.choice([20, 29, 31, 1000, 100_000])
    odd = [None, 0, "x", [], {}, [[]], Raw("[" * deep + "]" * deep), [0] * 100_000, {"a" * 50_000: 1}, Raw("{"), True]
    keys = list(node) if isinstance(node, dict) else list(range(len(node)))
    action = chance.choice(["drop", "add", "odd", "twice", "swap"])
    if not keys or action == "add":
        if isinstance(node, dict):
            node[chance.choice(STRINGS)] = chance.choice(odd)
        else:
            node.append(chance.choice(odd))
    elif action == "drop":
        del node[chance.choice(keys)]
    elif action == "odd":
        node[chance.choice(keys)] = chance.choice(odd)
    elif action == "swap":
        one, other = chance.choice(keys), chance.choice(keys)
        node[one], node[other] = node[other], node[one]
    elif isinstance(node, dict):
        key = chance.choice(keys)
        inner = json.dumps(node)
        extra = f", {json.dumps(key)}: {json.dumps(node[key])}}}"
        if not at:
            return Raw(inner[:-1] + extra)
        _get(value, at[:-1])[at[-1]] = Raw(inner[:-1] + extra)
    else:
        node.append(node[chance.choice(keys)])
    return value


def bytes_of(chance: random.Random, data: bytes) -> bytes:
    """Bytes that are cut, flipped, doubled or of another kind."""
    at = chance.randrange(len(data))
    return chance.choice(
        [
            b"", data[:at], data + data, data + b"\0", b"\xef\xbb\xbf" + data, data.decode("latin-1").encode("utf-16"),
            data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :], b"\x80\x04K\x01.", b"null",
            b"{}",
            b"[]", b"PAR1", b"PAR1" + b"\xff" * 20 + b"PAR1", b" " * 1000 + data, b"\x1f\x8b" + data,
        ]
    )  # fmt: skip


def place(chance: random.Random, path: Path) -> None:
    """Something else than a file, or a file of somebody else."""
    outside = path.parents[7] / "outside.txt"
    outside.write_bytes(path.read_bytes())
    path.unlink()
    action = chance.choice(["loop", "out", "gone", "zero", "folder", "pipe", "missing", "sparse", "up"])
    if action == "folder":
        path.mkdir()
    elif action == "pipe":
        os.mkfifo(path)
    elif action == "sparse":
        with path.open("wb") as file:
            file.truncate(2_000_000_000)
    elif action != "missing":
        path.symlink_to(
            {"loop": path, "out": outside, "gone": Path("nowhere"), "zero": Path("/dev/zero"), "up": Path("..")}[action]
        )


def _written(**columns: Any) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, compression="zstd")
    return buffer.getvalue()


def logits(rows: int, width: int) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(rows * width, np.float16)), width)


def long_ids(rows: int = 2000, letters: int = 1_000_000) -> bytes:
    """A few kilobytes that decode to gigabytes: one long text, chosen for every row."""
    ids = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), ["x" * letters])
    return _written(id=ids, label=pa.array(np.zeros(rows, np.int64)), logits=logits(rows, 7))


def many_rows(rows: int = 10_000_000) -> bytes:
    """Kilobytes that decode to hundreds of megabytes: equal rows."""
    ids = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), ["x"])
    return _written(id=ids, label=pa.array(np.zeros(rows, np.int64)), logits=logits(rows, 7))


def predictions(chance: random.Random, path: Path) -> None:
    """Other predictions, some of which decode to far more than they are."""
    table = pq.read_table(path, use_threads=False)
    order = list(range(table.num_rows))
    chance.shuffle(order)
    label = np.array(table["label"])
    changed = label.copy()
    changed[chance.randrange(len(label))] = chance.choice([-1, 0, 3, 7, 2**62])
    make: dict[str, Callable[[], Any]] = {
        "ids": long_ids,
        "rows": many_rows,
        "empty": lambda: table.slice(0, 0),
        "none": lambda: table.slice(0, 1),
        "shuffled": lambda: table.take(order),
        "twice": lambda: pa.concat_tables([table, table]),
        "label": lambda: table.set_column(1, "label", pa.array(changed)),
        "no-width": lambda: _written(id=["a"], label=[0], logits=pa.array([[]], pa.list_(pa.float16(), 0))),
        "nan": lambda: table.set_column(
            2, "logits", pa.FixedSizeListArray.from_arrays(pa.array(np.full(len(label) * 7, np.nan, np.float16)), 7)
        ),
        "width": lambda: table.set_column(2, "logits", logits(len(label), 3)),
    }
    made = make[chance.choice(list(make))]()
    if isinstance(made, bytes):
        path.write_bytes(made)
    else:
        pq.write_table(made, path)


def tamper(chance: random.Random, folder: Path) -> str:
    """Change one thing in the folder of a record; says what."""
    name = chance.choice(["record.json"] * 6 + ["history.json"] * 2 + ["predictions.parquet"] * 2)
    path = folder / name
    kind = chance.choice(["string", "string", "number", "number", "structure", "structure", "bytes", "place"])
    if kind == "place":
        place(chance, path)
    elif kind == "bytes":
        path.write_bytes(bytes_of(chance, path.read_bytes()))
    elif name == "predictions.parquet":
        predictions(chance, path)
    else:
        change = {"string": string, "number": number, "structure": structure}[kind]
        changed = change(chance, json.loads(path.read_bytes()))
        path.write_bytes(changed.encode() if isinstance(changed, Raw) else _dump(changed))
    return f"{kind} of {name}"
