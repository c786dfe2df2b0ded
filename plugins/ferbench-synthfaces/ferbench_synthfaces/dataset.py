"""The datasets whose images ship inside this package."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import ClassVar

from ferbench.readers.parquet import ParquetDataset


def packaged(name: str) -> Path:
    """Folder of a packaged set."""
    return Path(str(files("ferbench_synthfaces") / "data" / name))


class SynthFaces(ParquetDataset):
    """8,250 training and 3,100 test faces in RAF-DB's class imbalance."""

    needs_root: ClassVar[bool] = False

    def __init__(self, root: Path | None = None) -> None:
        """`root` is ignored: the images come with the package."""
        super().__init__(packaged("synthfaces"))


class SynthFacesFR(ParquetDataset):
    """8,000 unlabeled faces of other people, like a face-recognition set."""

    needs_root: ClassVar[bool] = False

    def __init__(self, root: Path | None = None) -> None:
        """`root` is ignored: the images come with the package."""
        super().__init__(packaged("synthfaces-fr"))
