"""The predictions of a model for pictures: as a table, as CSV or JSON for other programs, or as an HTML page."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from ferbench.contract.dataset import Damage
from ferbench.execution.predict import Said
from ferbench.execution.trained_model import TrainedModel
from ferbench.records.rows import row_title
from ferbench.records.schema import pretty_json
from ferbench.render.escape import csv_field, csv_path, plain
from ferbench.render.html import render
from ferbench.render.numbers import percent
from ferbench.reporting.pictures import picture_uri

NAME = 60
"""Longest file name in a table, in characters."""


@dataclass(frozen=True)
class Predictions:
    """The predictions of a model for readable pictures, and the reasons for the others."""

    model: TrainedModel
    said: Sequence[Said]
    damages: Sequence[Damage]

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Columns and rows for a terminal."""
        names = [plain(name) for name in self.model.class_names]
        rows = [
            [_end_of(one.seen.name), names[one.predicted], *(percent(share) for share in one.probabilities)]
            for one in self.said
        ]
        return ["image", "predicted", *names], rows

    def csv(self) -> bytes:
        """One row per picture: image, predicted, confidence, p_<class>, and the corners of a face that was cropped."""
        rows = [
            {
                "image": csv_path(one.seen.name),
                "predicted": csv_field(self.model.class_names[one.predicted]),
                "confidence": one.confidence,
                **{csv_field(f"p_{name}"): share for name, share in self._shares(one).items()},
                **({} if one.seen.face is None else dict(zip(("x0", "y0", "x1", "y1"), one.seen.face, strict=True))),
            }
            for one in self.said
        ]
        columns = ["image", "predicted", "confidence", *(csv_field(f"p_{name}") for name in self.model.class_names)]
        frame = pd.DataFrame(rows) if rows else pd.DataFrame(columns=columns)
        return frame.to_csv(index=False, lineterminator="\n").encode("utf-8", "replace")

    def json(self) -> bytes:
        """Predictions, failures, and the identifier and classes of the model."""
        found = [
            {
                "image": one.seen.name,
                "predicted": self.model.class_names[one.predicted],
                "confidence": one.confidence,
                "probabilities": self._shares(one),
                "face": one.seen.face,
            }
            for one in self.said
        ]
        failed = [{"image": damage.record, "reason": damage.reason} for damage in self.damages]
        about = {"cell_id": self.model.record.cell_id, "class_names": list(self.model.class_names)}
        content = {"model": about, "predictions": found, "failed": failed}
        # A name may contain bytes that are not UTF-8. JSON can say them as escapes, and Python reads the same name.
        return pretty_json(content, "backslashreplace")

    def html(self) -> bytes:
        """A self-contained page with each picture as the model sees it."""
        shown = [(one.seen.name, picture_uri(one.seen.pixels), self._surest_first(one)) for one in self.said]
        record = self.model.record
        return render(
            "ferbench.reporting",
            "predictions.html.j2",
            title="Predictions",
            subtitle=f"{row_title(record)} on {record.cell.dataset}, seed {record.cell.seed}",
            shown=shown,
            damages=self.damages,
            cell_id=record.cell_id,
        )

    def _surest_first(self, one: Said) -> list[tuple[str, float]]:
        return sorted(self._shares(one).items(), key=lambda share: share[1], reverse=True)

    def _shares(self, one: Said) -> dict[str, float]:
        return dict(zip(self.model.class_names, one.probabilities.tolist(), strict=True))


def _end_of(name: str) -> str:
    """A name for a narrow table: only the end of a long path, because the ends differ."""
    shown = plain(name, len(name))
    return shown if len(shown) <= NAME else f"…{shown[1 - NAME :]}"
