"""Find how much a Parquet file decodes to, without decoding it: pages of a few bytes can hold gigabytes.

pyarrow allocates the size that each page header states, and the totals in the footer may be wrong. So this module
first reads the page headers in the order in which pyarrow does. They are Thrift structs in the compact protocol.
"""

from collections.abc import Iterator
from typing import Any

import pyarrow.parquet as pq

from ferbench.errors import VerificationError

DATA, DICTIONARY, DATA_V2 = 0, 2, 3
SHARED_PREFIXES = 7
"""DELTA_BYTE_ARRAY: a text can repeat the beginning of the previous one, so that few bytes become many."""
MAX_PAGES = 100_000
MAX_NESTING = 10

_STOP, _TRUE, _FALSE, _BYTE, _I16, _I64, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 12


def check_pages(data: bytes, metadata: pq.FileMetaData, most_values: int, most_bytes: int) -> None:
    """Raise VerificationError if the columns have more values, or the pages unpack to more bytes, than the limits."""
    values = unpacked = pages = 0
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        for column in map(group.column, range(group.num_columns)):
            if column.num_values < group.num_rows or not group.num_rows:
                raise VerificationError(f"predictions do not have the {group.num_rows} rows that their footer states")
            values += column.num_values
            if values > most_values:
                raise VerificationError(f"predictions have more than {most_values:,} values")
            for size in _pages(data, column):
                unpacked, pages = unpacked + size, pages + 1
                if pages > MAX_PAGES:
                    raise VerificationError(f"predictions have more than {MAX_PAGES:,} pages")
                if unpacked > most_bytes:
                    raise VerificationError(f"predictions unpack to more than {most_bytes:,} bytes")


def _pages(data: bytes, column: pq.ColumnChunkMetaData) -> Iterator[int]:
    """Yield the unpacked size of every page of a column; raises VerificationError if it has more values than stated."""
    start = column.data_page_offset
    if column.has_dictionary_page and 0 < (column.dictionary_page_offset or 0) < start:
        start = column.dictionary_page_offset
    end = start + column.total_compressed_size
    if not 0 <= start <= end <= len(data):
        raise VerificationError("predictions have a column that is outside the file")
    at, seen = start, 0
    while seen < column.num_values:
        header, at = _struct(data, at, end)
        try:
            kind, size, packed = header[1], header[2], header[3]
            facts = header[{DATA: 5, DICTIONARY: 7, DATA_V2: 8}[kind]]
            values, encoding = facts[1], facts[4 if kind == DATA_V2 else 2]
        except (KeyError, TypeError):
            raise VerificationError("predictions have a page of an unknown kind") from None
        if (
            not all(isinstance(each, int) and each >= 0 for each in (size, packed, values))
            or encoding == SHARED_PREFIXES
        ):
            raise VerificationError("predictions have a page of unknown size; write them with pyarrow's defaults")
        seen += values if kind != DICTIONARY else 0
        at += packed
        if seen > column.num_values or at > end:
            raise VerificationError("predictions have a page with more values or bytes than their footer states")
        yield size


def _struct(data: bytes, at: int, end: int, nesting: int = 0) -> tuple[dict[int, Any], int]:
    """Return the fields of a struct by number, and the offset after it. Texts, lists and doubles become None."""
    fields: dict[int, Any] = {}
    number = 0
    while True:
        byte, at = _byte(data, at, end)
        delta, kind = byte >> 4, byte & 15
        if kind == _STOP:
            return fields, at
        if delta:
            number += delta
        else:
            number, at = _integer(data, at, end)
        if number in fields:  # pyarrow may use the other of the two
            raise VerificationError("predictions have a page header with a field that occurs twice")
        fields[number], at = _value(data, at, end, kind, nesting)


def _value(data: bytes, at: int, end: int, kind: int, nesting: int) -> tuple[Any, int]:
    if nesting > MAX_NESTING:
        raise VerificationError("predictions have a page header that is nested too deeply")
    if kind in (_TRUE, _FALSE):
        return kind == _TRUE, at
    if kind == _BYTE:
        return _byte(data, at, end)
    if _I16 <= kind <= _I64:
        return _integer(data, at, end)
    if kind == _DOUBLE:
        return None, _within(at + 8, end)
    if kind == _BINARY:
        length, at = _varint(data, at, end)
        return None, _within(at + length, end)
    if kind in (_LIST, _SET):
        byte, at = _byte(data, at, end)
        length, inner = byte >> 4, byte & 15
        if length == 15:
            length, at = _varint(data, at, end)
        for _ in range(length):
            # a boolean takes one byte in a list and none in a struct; reading a byte stops at the end of the column
            _, at = _value(data, at, end, _BYTE if inner in (_TRUE, _FALSE) else inner, nesting + 1)
        return None, at
    if kind == _STRUCT:
        return _struct(data, at, end, nesting + 1)
    raise VerificationError("predictions have a page header that cannot be read")


def _integer(data: bytes, at: int, end: int) -> tuple[int, int]:
    value, at = _varint(data, at, end)
    return (value >> 1) ^ -(value & 1), at


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 64:
        byte, at = _byte(data, at, end)
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    raise VerificationError("predictions have a page header that cannot be read")


def _byte(data: bytes, at: int, end: int) -> tuple[int, int]:
    after = _within(at + 1, end)
    return data[at], after


def _within(at: int, end: int) -> int:
    if at > end:
        raise VerificationError("predictions have a page header that ends too early")
    return at
