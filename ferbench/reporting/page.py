"""The report of a run as an HTML page."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from markupsafe import Markup

from ferbench.cells.known import known_protocols
from ferbench.contract.dataset import Dataset
from ferbench.discovery.registry import Registry
from ferbench.errors import DataError, FerbenchError
from ferbench.records.checks import why_not_standard
from ferbench.records.dotted import flat
from ferbench.records.metrics import calibration
from ferbench.records.rows import row_title, titled
from ferbench.records.schema import Record
from ferbench.render.html import render
from ferbench.render.svg import themed
from ferbench.reporting import tables
from ferbench.reporting.calibration import calibration_words, reliability_plot
from ferbench.reporting.history import Chart, charts, thinned
from ferbench.reporting.local_data import open_data
from ferbench.reporting.plots import line_chart
from ferbench.reporting.run_files import RunFiles
from ferbench.reporting.sure_errors import sure_errors, with_pictures

MAX_MATRIX = 60
"""Most classes of a confusion matrix on the page."""


def report_page(
    run: RunFiles,
    registry: Registry,
    dataset: Dataset | None = None,
    test_set: Dataset | None = None,
    *,
    embedding: bool = False,
) -> bytes:
    """The self-contained HTML file; equal input gives equal bytes.

    `dataset` is the record's dataset and `test_set` the other dataset that it is tested on; if None, they are opened by
    name. `embedding` adds a map of the test images.
    """
    record, result = titled(run.record, registry.titles), run.record.result
    confusion = result.confusion if result and result.outcome() else None
    problems = [*run.problems]
    if result and confusion is None:
        problems.append("No confusion matrix: the record's matrix does not fit its classes.")
    return render(
        "ferbench.reporting",
        "report.html.j2",
        record=record,
        result=result,
        not_standard=why_not_standard(record, known_protocols(registry).get(record.cell.protocol)),
        title=_title(record),
        subtitle=_subtitle(record),
        problems=problems,
        headline=tables.headline(result, record.headline) if result else [],
        plots=[(chart, *_both_widths(chart)) for chart in _charts(run)],
        calibration=_calibration(run),
        confusion=confusion if confusion and len(confusion) <= MAX_MATRIX else None,
        class_table=tables.class_rows(result, confusion, thinned(run.history)) if result and confusion else [],
        **_faces(run, registry, dataset, test_set, embedding),
        cell={"budget": record.cell.budget.title(), **record.cell.model_dump(exclude={"overrides", "budget"})},
        protocol=dict(flat(record.config.protocol)),
        method=dict(flat(record.config.method)),
        measured=tables.measured_fields(record.measured, result),
        stamps=tables.stamp_fields(record),
        file=shlex.quote(run.path.name),
    )


def curve_files(run: RunFiles) -> Iterator[tuple[str, bytes]]:
    """The curves of the page as (name, SVG file), in the colours of a light page."""
    for chart in _charts(run):
        slug = re.sub(r"[^a-z0-9]+", "-", chart.title.lower()).strip("-")
        yield f"{slug}.svg", line_chart(chart).encode("utf-8")


def _both_widths(chart: Chart) -> tuple[Markup, Markup | None]:
    """A chart, and for a wide one also its narrow version for small screens."""
    narrow = Markup(themed(line_chart(replace(chart, wide=False)))) if chart.wide else None
    return Markup(themed(line_chart(chart))), narrow


def _calibration(run: RunFiles) -> tuple[Markup, str] | None:
    """The reliability diagram and a sentence about it; None if there are no predictions."""
    if run.predictions is None:
        return None
    words = calibration_words(calibration(run.predictions.logits, run.predictions.labels))
    return Markup(themed(reliability_plot(run.predictions))), words


def _charts(run: RunFiles) -> list[Chart]:
    return charts(thinned(run.history), run.record.result.class_names if run.record.result else ())


def _title(record: Record) -> str:
    cell, row = record.cell, row_title(record)
    return f"{row} on {cell.dataset}" if cell.test_on is None else f"{row}: {cell.dataset} to {cell.test_on}"


def _subtitle(record: Record) -> str:
    cell = record.cell
    pool = f", unlabeled images of {cell.pool}" if cell.pool else ""
    test_on = f", trained on {cell.dataset} and tested on {cell.test_on}" if cell.test_on else ""
    return f"{cell.budget.title()}{pool}, seed {cell.seed}{test_on}"


def _faces(
    run: RunFiles, registry: Registry, dataset: Dataset | None, test_set: Dataset | None, embedding: bool
) -> dict[str, Any]:
    """The sheets of faces, or the reason why there are none; imports torch only if the dataset is on this machine."""
    record, seed = run.record, run.record.cell.seed
    found: dict[str, Any] = dict.fromkeys(("labeled", "unlabeled", "missing", "embedding", "no_embedding"))
    found |= {"errors": sure_errors(run.predictions) if run.predictions else [], "stage_sheets": {}}
    if any(run.path.parent.glob("pictures-*.safetensors")):
        from ferbench.reporting.face_sheets import picture_sheets

        found["stage_sheets"] = picture_sheets(run.path.parent)
    try:
        local = open_data(record, registry, dataset, test_set)
    except FerbenchError as error:
        return {**found, "missing": str(error), "no_embedding": str(error) if embedding else None}
    from ferbench.reporting.face_sheets import labeled_sheet, unlabeled_sheet

    found["labeled"] = labeled_sheet(local, seed)
    if record.result is None or record.result.n_unlabeled is not None:
        found["unlabeled"] = unlabeled_sheet(local, seed)
    found["errors"] = with_pictures(found["errors"], local.data.tested)
    if embedding:
        from ferbench.reporting.embedding import embedding_plots

        try:
            found["embedding"] = [Markup(themed(plot)) for plot in embedding_plots(run.path, registry, local)]
        except DataError as error:
            found["no_embedding"] = str(error)
    return found
