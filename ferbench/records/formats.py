"""Numbers of what one version of ferbench writes and another may find on disk; a record has its own, in the schema."""

from pathlib import Path

from ferbench.errors import DataError

ENGINE_VERSION = 1
"""Of the training engine; results of two versions may differ."""
CACHE_FORMAT = 2
"""Of packed datasets, stream indexes and what is remembered of prepared copies."""
CHECKPOINT_FORMAT = 2
"""Of checkpoints and cached stages."""
RUNS_FORMAT = 1
"""Of a folder of runs; records are read from folders of any format."""

FORMAT = "format"

# Parts of keys: what was made under another number is not found, and made anew.
PACK_VERSION = 3
INDEX_VERSION = 2
OVERLAP_VERSION = 3


def check_format(path: Path, found: object, expected: int, remedy: str) -> None:
    """Raises DataError naming the file, both numbers and the remedy where it was not written in the format of now."""
    number = found.get(FORMAT) if isinstance(found, dict) else None
    if number != expected:
        made_by = "ferbench 0.1, before formats had numbers" if number is None else f"another ferbench, format {number}"
        raise DataError(f"{path}: written by {made_by}; this version reads format {expected}: {remedy}")
