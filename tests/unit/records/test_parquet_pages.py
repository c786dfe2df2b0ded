"""What a file decodes to is known before it is decoded, also where its footer lies."""

import io
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ferbench.errors import VerificationError
from ferbench.records.parquet_pages import check_pages
from ferbench.records.predictions import Predictions
from tests.support.hostile_records import logits

ROWS = 5000
MANY = 10**9


def written(rows: int = ROWS, **options: Any) -> bytes:
    random = np.random.default_rng(0)
    table = pa.table(
        {
            "id": [f"test/{index % 700}" for index in range(rows)],
            "label": pa.array(random.integers(0, 7, rows)),
            "logits": logits(rows, 7),
        }
    )
    buffer = io.BytesIO()
    pq.write_table(table, buffer, **options)
    return buffer.getvalue()


def footer(data: bytes) -> pq.FileMetaData:
    return pq.ParquetFile(io.BytesIO(data)).metadata


WAYS: dict[str, dict[str, Any]] = {
    "ours": {"compression": "zstd"},
    "plain": {"compression": "none", "use_dictionary": False},
    "small pages": {"data_page_size": 500, "row_group_size": 1000},
    "version 2": {"data_page_version": "2.0", "data_page_size": 500},
    "checksums": {"write_page_checksum": True, "write_page_index": True, "store_decimal_as_integer": True},
    "other encodings": {
        "use_dictionary": False,
        "column_encoding": {"label": "DELTA_BINARY_PACKED", "logits.list.element": "BYTE_STREAM_SPLIT"},
    },
}


@pytest.mark.parametrize("way", WAYS)
def test_what_honest_writers_write_is_bounded_exactly(way: str) -> None:
    """The limits are the sums that the footer of an honest file has: its pages, and at most 60 bytes of header each."""
    data = written(**WAYS[way])
    metadata = footer(data)
    columns = [metadata.row_group(g).column(c) for g in range(metadata.num_row_groups) for c in range(3)]
    values = sum(column.num_values for column in columns)
    unpacked = sum(column.total_uncompressed_size for column in columns)
    assert values == ROWS * 9
    check_pages(data, metadata, values, unpacked)
    with pytest.raises(VerificationError, match="more than 44,999 values"):
        check_pages(data, metadata, values - 1, unpacked)
    with pytest.raises(VerificationError, match="unpack to more"):
        check_pages(data, metadata, values, unpacked * 2 // 3)
    assert len(Predictions.from_parquet(data).ids) == ROWS


def lying(metadata: pq.FileMetaData, **lies: int) -> Any:
    """The footer with other numbers of its first column."""
    group = metadata.row_group(0)
    names = ("num_values", "data_page_offset", "has_dictionary_page", "dictionary_page_offset", "total_compressed_size")
    columns = [SimpleNamespace(**{name: getattr(group.column(c), name) for name in names}) for c in range(3)]
    rows = lies.pop("num_rows", group.num_rows)
    vars(columns[0]).update(lies)
    false = SimpleNamespace(num_rows=rows, num_columns=3, column=columns.__getitem__)
    return SimpleNamespace(num_row_groups=1, row_group=lambda number: false)


@pytest.mark.parametrize(
    ("lies", "words"),
    [
        ({"num_values": 10, "num_rows": 10}, "more values or bytes than their footer"),
        ({"num_rows": 10**15}, f"the {10**15} rows"),
        ({"num_rows": 0}, "the 0 rows"),
        ({"total_compressed_size": 40}, "more values or bytes than their footer"),
        ({"total_compressed_size": 10**9}, "outside the file"),
        ({"data_page_offset": -1, "has_dictionary_page": False}, "outside the file"),
        ({"num_values": ROWS + 1}, "page"),
    ],
)
def test_a_footer_that_lies_is_found_out(lies: dict[str, int], words: str) -> None:
    data = written()
    with pytest.raises(VerificationError, match=words):
        check_pages(data, lying(footer(data), **lies), MANY, MANY)


def test_texts_that_share_their_beginnings_cannot_be_bounded() -> None:
    data = written(use_dictionary=False, column_encoding={"id": "DELTA_BYTE_ARRAY"})
    with pytest.raises(VerificationError, match="unknown size"):
        Predictions.from_parquet(data)


def test_damaged_headers_end_in_an_error_or_in_a_bound() -> None:
    data = written(rows=50, compression="none", use_dictionary=False)
    metadata, random = footer(data), np.random.default_rng(1)
    start = metadata.row_group(0).column(0).data_page_offset
    refused = 0
    for _ in range(2000):
        damaged = bytearray(data)
        for position in random.integers(start, start + 40, 3):
            damaged[position] = random.integers(256)
        try:
            check_pages(bytes(damaged), metadata, MANY, MANY)
        except VerificationError:
            refused += 1
    assert 500 < refused < 2000
