"""Records as a pandas frame: a row per cell, every column typed and explained."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd


def typed_frame(rows: Sequence[Mapping[str, Any]], types: Mapping[str, Any]) -> pd.DataFrame:
    """A frame with exactly these columns; what a row lacks is missing, whatever the type."""
    return pd.DataFrame({name: pd.array([row.get(name) for row in rows], dtype=dtype) for name, dtype in types.items()})
