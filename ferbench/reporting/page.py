"""The report of a run: everything that its page shows, and the page."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from ferbench.contract.dataset import Dataset
from ferbench.contract.executor import INLINE
from ferbench.discovery.registry import Registry
from ferbench.errors import FerbenchError
from ferbench.records.rows import row_title
from ferbench.records.schema import Record
from ferbench.render.html import render
from ferbench.render.numbers import NONE
from ferbench.render.svg import themed
from ferbench.reporting import tables
from ferbench.reporting.history import Chart, charts, thinned
from ferbench.reporting.local_data import open_data
from ferbench.reporting.plots import MAX_MATRIX, confusion_matrix, line_chart
from ferbench.reporting.run_files import RunFiles

if TYPE_CHECKING:
    from ferbench.reporting.face_sheets import Sheet


@dataclass(frozen=True)
class Plot:
    """A drawn chart with the words below it."""

    svg: Markup
    title: str
    note: str
    wide: bool


@dataclass(frozen=True)
class Faces:
    """The sheets of faces, or why there are none."""

    labeled: "Sheet | None" = None
    unlabeled: "Sheet | None" = None
    errors: "tuple[Sheet, ...]" = ()
    missing: str = ""


def report_page(
    run: RunFiles, registry: Registry, dataset: Dataset | None = None, test_set: Dataset | None = None
) -> bytes:
    """The HTML file, self-contained and equal for equal input.

    `dataset` is the record's, and `test_set` the other that it is tested on, if they have no known name.
    """
    record, result = run.record, run.record.result
    rows = thinned(run.history)
    confusion = tables.usable_confusion(result) if result else None
    best = getattr(result.oracle, record.headline) if result and result.oracle else None
    problems = [*run.problems]
    if result and confusion is None:
        problems.append("No confusion matrix: the one in the record does not fit its classes.")
    class_table = tables.class_rows(result, confusion, rows) if result and confusion else []
    return render(
        "ferbench.reporting",
        "report.html.j2",
        record=record,
        result=result,
        title=_title(record),
        subtitle=_subtitle(record),
        standard=record.standard and not record.cell.overrides,
        not_standard=_not_standard(record),
        problems=problems,
        headline=tables.headline(result, record.headline) if result else [],
        optimism=None if best is None or result is None else best - getattr(result.metrics, record.headline),
        best=best,
        plots=[_plot(chart) for chart in charts(rows, result.class_names if result else ())],
        confusion=_matrix(confusion, result.class_names) if result and confusion else None,
        class_table=class_table,
        pseudo_labels=any(row.mask_rate != NONE for row in class_table),
        faces=_faces(run, registry, dataset, test_set),
        stage_sheets=_stage_sheets(run.path.parent),
        cell=tables.cell_fields(record.cell),
        protocol=tables.config_fields(record.config.protocol, record.cell.overrides.protocol),
        method=tables.config_fields(record.config.method, record.cell.overrides.method),
        measured=tables.measured_fields(record.measured, result),
        environment=tables.fields(record.environment),
        stamps=tables.stamp_fields(record),
        fingerprints=tables.fields(_fingerprints(record)),
        file=shlex.quote(run.path.name),
    )


def curve_files(run: RunFiles) -> Iterator[tuple[str, bytes]]:
    """The curves of the page as (name, SVG file), in the colours of a light page."""
    names = run.record.result.class_names if run.record.result else ()
    for chart in charts(thinned(run.history), names):
        slug = re.sub(r"[^a-z0-9]+", "-", chart.title.lower()).strip("-")
        yield f"{slug}.svg", line_chart(chart).encode("utf-8")


def _title(record: Record) -> str:
    cell, row = record.cell, row_title(record)
    return f"{row} on {cell.dataset}" if cell.test_on is None else f"{row}: {cell.dataset} to {cell.test_on}"


def _subtitle(record: Record) -> str:
    cell = record.cell
    pool = f", unlabeled images of {cell.pool}" if cell.pool else ""
    test_on = f", trained on {cell.dataset} and tested on {cell.test_on}" if cell.test_on else ""
    return f"{cell.budget.title()}{pool}, seed {cell.seed}{test_on}"


def _not_standard(record: Record) -> str:
    if record.measured.executor == INLINE:
        return "It ran in the process that asked for it (--executor inline)."
    if record.cell.overrides:
        return f"Differs from the defaults of protocol and method: {record.cell.changes}."
    return f"Its label budget or its seed is not among those of protocol {record.cell.protocol}."


def _fingerprints(record: Record) -> dict[str, str]:
    if record.result is None:
        return {}
    result = record.result
    return {
        **result.fingerprints.by_name(),
        "predictions": result.predictions_digest,
        "history": result.history_digest,
        "model": result.model_digest,
    }


def _plot(chart: Chart) -> Plot:
    return Plot(Markup(themed(line_chart(chart))), chart.title, chart.note, chart.wide)


def _matrix(confusion: list[list[int]], class_names: list[str]) -> Markup | None:
    return Markup(themed(confusion_matrix(confusion, class_names))) if len(class_names) <= MAX_MATRIX else None


def _faces(run: RunFiles, registry: Registry, dataset: Dataset | None, test_set: Dataset | None) -> Faces:
    """Made where the dataset is here; torch is imported only then."""
    record, seed = run.record, run.record.cell.seed
    try:
        data = open_data(record, registry, dataset, test_set)
    except FerbenchError as error:
        return Faces(missing=str(error))
    from ferbench.reporting.face_sheets import confident_errors, error_sheets, labeled_sheet, unlabeled_sheet

    used = record.result is None or record.result.n_unlabeled is not None
    errors = []
    if run.predictions and record.result:
        errors = error_sheets(data.data.tested, confident_errors(run.predictions), record.result.class_names)
    return Faces(labeled_sheet(data, seed), unlabeled_sheet(data, seed) if used else None, tuple(errors))


def _stage_sheets(folder: Path) -> "list[tuple[str, Sheet]]":
    if not any(folder.glob("pictures-*.safetensors")):
        return []
    from ferbench.reporting.face_sheets import picture_sheets

    return picture_sheets(folder)
