"""The datasets in this package."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import ClassVar

from ferbench.contract.dataset import Sample
from ferbench.readers.description import DESCRIPTION
from ferbench.readers.parquet import ParquetDataset
from ferbench_synthfaces.needs_render import needs_render


def packaged(name: str) -> Path:
    """Folder of a packaged dataset."""
    return Path(str(files("ferbench_synthfaces") / "data" / name))


class SynthFaces(ParquetDataset):
    """8,250 training and 3,100 test faces with RAF-DB's class imbalance."""

    needs_root: ClassVar[bool] = False

    def __init__(self, root: Path | None = None) -> None:
        """`root` is ignored: the images come with the package."""
        super().__init__(packaged("synthfaces"))

    def redrawn_test(self, seed: int) -> Iterator[Sample]:
        """A test split rendered with another seed: other faces, the same number of each class."""
        with needs_render():
            from ferbench_synthfaces.render.redraw import redrawn
        return redrawn(json.loads((self.folder / DESCRIPTION).read_text("utf-8")), seed)


class SynthFacesFR(ParquetDataset):
    """8,000 unlabeled faces of other people, like a face-recognition dataset."""

    needs_root: ClassVar[bool] = False

    def __init__(self, root: Path | None = None) -> None:
        """`root` is ignored: the images come with the package."""
        super().__init__(packaged("synthfaces-fr"))
