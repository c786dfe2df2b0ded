"""Version numbers of the formats that ferbench writes to disk; the version of records is in the schema."""

from pathlib import Path

from ferbench.errors import DataError

ENGINE_VERSION = 1
"""Version of the training engine; results of two versions may differ."""
CACHE_FORMAT = 2
"""Format of packed datasets, of stream indexes and of the notes about prepared copies."""
CHECKPOINT_FORMAT = 2
"""Format of checkpoints and cached stages."""
RUNS_FORMAT = 1
"""Format of a runs folder; records are read from folders of any format."""

FORMAT = "format"

# Parts of cache keys: files made under another number are not found, and are made again.
PACK_VERSION = 3
INDEX_VERSION = 2
OVERLAP_VERSION = 3


def check_format(path: Path, found: object, expected: int, remedy: str) -> None:
    """Raise DataError if a file has another format than `expected`; it names file, both numbers and remedy."""
    number = found.get(FORMAT) if isinstance(found, dict) else None
    if number != expected:
        made_by = "ferbench 0.1, without a format number" if number is None else f"another ferbench in format {number}"
        raise DataError(f"{path}: written by {made_by}; this version reads format {expected}; {remedy}")
