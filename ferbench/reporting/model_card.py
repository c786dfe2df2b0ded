"""The model card of a run in Markdown: data, protocol, scores with intervals, limits and intended use."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ferbench.cells.known import known_protocols
from ferbench.contract.dataset import DatasetInfo
from ferbench.data.sources import open_dataset
from ferbench.discovery.registry import Registry
from ferbench.errors import DataError, FerbenchError
from ferbench.leaderboard.statistics import of_images, wilson, within
from ferbench.records.answers import Answers
from ferbench.records.checks import why_not_standard
from ferbench.records.metrics import Metric, shown_in
from ferbench.records.rows import row_title, titled
from ferbench.records.schema import Record, Result
from ferbench.render.escape import LONG, markdown
from ferbench.render.html import templates
from ferbench.render.numbers import NONE, grouped, percent, sentence_case

CONFUSIONS = 3
"""The most frequent confusions that the card names."""


@dataclass(frozen=True)
class Score:
    """A number with its 95 % interval, as texts."""

    name: str
    value: str
    interval: str


@dataclass(frozen=True)
class ClassScores:
    """Counts and scores of a class, as texts."""

    name: str
    labeled: str
    test: str
    recall: Score
    precision: Score


@dataclass(frozen=True)
class Confusion:
    """The test images of a class that the model predicts as another class."""

    true: str
    predicted: str
    images: int
    share: str


def model_card(record: Record, registry: Registry) -> bytes:
    """The card in Markdown; texts of the record are escaped. Raises DataError if the record has no result.

    Title and licence come from the installed dataset of the same name, if any.
    """
    record, result = titled(record, registry.titles), record.result
    outcome = result.outcome() if result else None
    if result is None or outcome is None:
        raise DataError("a card needs a record with a result; run its cell again")
    confusion = outcome.confusion.astype(np.int64)
    environment = templates("ferbench.reporting", autoescape=False)
    environment.filters.update(markdown=markdown, sentence=lambda text: markdown(str(text), LONG), grouped=grouped)
    page = environment.get_template("model_card.md.j2").render(
        record=record,
        result=result,
        not_standard=why_not_standard(record, known_protocols(registry).get(record.cell.protocol)),
        title=row_title(record),
        info=_info(record, registry),
        scores=_scores(result, confusion),
        classes=[_class_scores(result, confusion, number) for number in range(len(result.class_names))],
        confusions=_confusions(result.class_names, confusion),
        recipe=record.config.protocol,
        near=result.metrics.ece,
    )
    return (page.rstrip("\n") + "\n").encode("utf-8", "replace")


def _info(record: Record, registry: Registry) -> DatasetInfo | None:
    try:
        return open_dataset(registry, record.cell.dataset).info
    except FerbenchError:
        return None


def _scores(result: Result, confusion: np.ndarray) -> list[Score]:
    """Every metric of the report, with an interval over the test images if the counts allow one."""
    values, answers = result.scores(), _answers(confusion)
    return [
        Score(sentence_case(metric.title), metric.text(values[metric.key]), _interval(metric, answers))
        for metric in shown_in("report")
    ]


def _interval(metric: Metric, answers: Answers) -> str:
    if metric.key == "accuracy":
        return _wilson(int(answers.right.sum()), len(answers.labels), metric)
    parts = answers.parts(metric)
    # The lowest of several recalls is not a smooth function of the counts; its normal interval would be too short.
    if parts is None or metric.key == "worst_class_recall":
        return NONE
    if np.ptp(parts) < 1e-9:  # all right or all wrong: the variance of images cannot be estimated
        return NONE
    about = within(of_images(parts), metric.low, metric.high)
    return f"{metric.number(about.low or 0.0)} to {metric.text(about.high)}"


def _wilson(hits: int, images: int, metric: Metric | None = None) -> str:
    low, high = wilson([hits / images], None, images)
    return f"{metric.number(low)} to {metric.text(high)}" if metric else f"{100 * low:.1f} to {percent(high)}"


def _answers(confusion: np.ndarray) -> Answers:
    """Answers with these counts, in an arbitrary order."""
    pairs = np.repeat(np.argwhere(confusion), confusion[confusion > 0], axis=0)
    return Answers("", pairs[:, 0], pairs[:, 1], len(confusion))


def _class_scores(result: Result, confusion: np.ndarray, number: int) -> ClassScores:
    name = result.class_names[number]
    hits, true, predicted = (
        int(n) for n in (confusion[number, number], confusion[number].sum(), confusion[:, number].sum())
    )
    labeled = result.labeled_counts.get(name)
    return ClassScores(
        name,
        NONE if labeled is None else grouped(labeled),
        grouped(true),
        _share("recall", hits, true),
        _share("precision", hits, predicted),
    )


def _share(name: str, hits: int, images: int) -> Score:
    return Score(name, percent(hits / images), _wilson(hits, images)) if images else Score(name, NONE, NONE)


def _confusions(names: Sequence[str], confusion: np.ndarray) -> list[Confusion]:
    """The most frequent confusions, by their share of the true class."""
    wrong = confusion * (1 - np.eye(len(names), dtype=np.int64))
    shares = wrong / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    places = sorted(np.argwhere(wrong).tolist(), key=lambda place: -shares[tuple(place)])[:CONFUSIONS]
    return [Confusion(names[i], names[j], int(wrong[i, j]), percent(float(shares[i, j]))) for i, j in places]
