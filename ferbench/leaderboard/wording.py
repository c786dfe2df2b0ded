"""The words and numbers of a table, the same in Markdown and on a terminal; escaping is up to them."""

from collections.abc import Sequence

from ferbench.leaderboard.keys import HEADLINES, Key
from ferbench.leaderboard.reported import Origin, Published, ReportedBlock
from ferbench.leaderboard.statistics import Paired, Spread
from ferbench.leaderboard.tables import Row, Table

NONE = "–"
MEASURED = "above"

COLUMNS = (
    "Method",
    "Seeds",
    "Accuracy",
    "Balanced acc.",
    "Macro-F1",
    "ECE",
    "Gain",
    "Optimism",
    "Image passes",
    "Minutes",
    "Labels",
)
PUBLISHED = "Published"


def columns(table: Table) -> tuple[str, ...]:
    """The columns of a table; the last only where papers print something for its rows."""
    return (*COLUMNS, PUBLISHED) if table.published else COLUMNS


def cells(row: Row, table: Table) -> tuple[str, ...]:
    """One text per column."""
    published = [_published(row, table)] if table.published else []
    return (*_measured(row, table.baseline), *published)


def _measured(row: Row, baseline: str | None) -> tuple[str, ...]:
    shown = [percent(row.metrics.get(name)) for name in ("accuracy", "balanced_accuracy", "macro_f1", "ece")]
    return (
        row.title,
        seeds(row),
        *shown,
        "baseline" if row.name == baseline else difference(row.gain),
        NONE if row.optimism is None else f"{100 * row.optimism.mean:+.1f}",
        NONE if row.image_passes is None else f"{row.image_passes:,}".replace(",", " "),
        NONE if row.minutes is None else f"{row.minutes:.1f}",
        str(row.labels[0]) if row.labels[0] == row.labels[1] else f"{row.labels[0]}–{row.labels[1]}",
    )


def _published(row: Row, table: Table) -> str:
    """`84.42 [1]`: what papers print for the row, and which footnote says where."""
    marks = {block: mark for mark, block in enumerate(table.blocks, 1)}
    values = [value for value in table.published if value.method == row.name]
    return ", ".join(f"{_printed(value)} [{marks[value.block]}]" for value in values) or NONE


def _printed(value: Published) -> str:
    metric = value.block.origin.metric
    return f"{value.percent:f}" + ("" if metric == "accuracy" else f" {HEADLINES[metric]}")


def footnotes(table: Table) -> tuple[str, ...]:
    """Where published values come from, what they were selected on, and what else is not as in the table."""
    return tuple(f"[{mark}] {_footnote(block, table.key)}" for mark, block in enumerate(table.blocks, 1))


def _footnote(block: ReportedBlock, key: Key) -> str:
    facts = [f"{name}: {text}." for name, text in provenance(block.origin)]
    here = f"Here: {key.backbone}, {_weights(key)}."
    return " ".join([f"{origin_heading(block.origin)}.", *facts, here, *([block.note] if block.note else [])])


def origin_heading(origin: Origin) -> str:
    """`Li et al., CVPR 2022: Table 3`."""
    return f"{origin.citation}: {origin.source}"


def provenance(origin: Origin) -> tuple[tuple[str, str], ...]:
    """What a reader must know of published numbers, each fact with its name."""
    return (
        ("Address", origin.address),
        ("Selected on", origin.selected_on),
        ("Backbone", origin.backbone or "not stated"),
        ("Protocol", origin.protocol),
    )


def block_heading(block: ReportedBlock) -> str:
    """`raf-db, 7 classes, 3068 test images: accuracy`."""
    test = "" if block.test_images is None else f", {block.test_images} test images"
    return f"{block.dataset}, {block.classes} classes{test}: {HEADLINES[block.origin.metric]}"


def published_columns(values: Sequence[Published]) -> tuple[str, ...]:
    """The budgets of one block of published values."""
    budgets = sorted({value.budget for value in values}, key=lambda budget: budget.order())
    return ("Method", *(budget.title() for budget in budgets))


def published_rows(values: Sequence[Published]) -> list[tuple[str, ...]]:
    """The methods of one block of published values; a value that is missing stands in a measured table."""
    texts = {(value.title, value.budget.title()): f"{value.percent:f}" for value in values}
    budgets = published_columns(values)[1:]
    titles = dict.fromkeys(value.title for value in values)
    return [(title, *(texts.get((title, budget), MEASURED) for budget in budgets)) for title in titles]


def recall_columns(table: Table) -> tuple[str, ...]:
    """Class names with the number of their test images."""
    counts = zip(table.key.class_names, table.class_counts, strict=True)
    return ("Method", *(f"{name} ({count})" for name, count in counts))


def recall_cells(row: Row) -> tuple[str, ...]:
    """Recall per class; a class without test images has none."""
    return (row.title, *(percent(value) for value in row.recalls.values()))


def seeds(row: Row) -> str:
    """How many seeds there are, and which: `5 (0–4)`."""
    if not row.complete:
        return f"incomplete ({len(row.by_seed)} of {row.most_seeds} seeds)"
    numbers = sorted(row.by_seed)
    run = numbers == list(range(numbers[0], numbers[-1] + 1)) and len(numbers) > 1
    return f"{len(numbers)} ({f'{numbers[0]}–{numbers[-1]}' if run else ', '.join(map(str, numbers))})"


def percent(value: Spread | None) -> str:
    """`81.2 ± 0.4`, in percent."""
    if value is None:
        return NONE
    return f"{100 * value.mean:.1f}" + ("" if value.sd is None else f" ± {100 * value.sd:.1f}")


def difference(value: Paired | None) -> str:
    """`+3.1 (+1.2 to +5.0)`, in percentage points."""
    if value is None:
        return NONE
    mean = f"{100 * value.mean:+.1f}"
    if value.low is None or value.high is None:
        return mean
    return f"{mean} ({100 * value.low:+.1f} to {100 * value.high:+.1f})"


def heading(key: Key) -> str:
    """`synthfaces, 7 classes, 5 % of the labels`, or `trained on A, tested on B (6 classes of both), ...`."""
    pool = "" if key.pool is None else f", unlabeled pool {key.pool}"
    data = f"{key.dataset}, {key.classes} classes"
    if key.test_on is not None:
        data = f"trained on {data}, tested on {key.test_on} ({len(key.class_names)} classes of both)"
    title = f"{data}, {key.budget.title()}{pool}"
    if key.standard:
        return title
    reason = f"overrides {key.protocol_overrides}" if key.protocol_overrides else "options, seeds or ratios of its own"
    return f"Not standard ({reason}): {title}"


def caption(key: Key, test_images: int) -> str:
    """What all rows of a table share, besides what its heading says."""
    folds = f" in {key.folds} folds of subjects" if key.folds else ""
    order = "" if key.headline == "accuracy" else f", ordered by {HEADLINES[key.headline]}, which gains are in"
    return (
        f"Protocol {key.protocol}{order}, backbone {key.backbone}, {_weights(key)}, {key.precision}, "
        f"{test_images} test images{folds}, data {key.data[:12] or 'unknown'}"
    )


def _weights(key: Key) -> str:
    return "trained from scratch" if key.init == "scratch" else f"initial weights {key.init[:19]}"


EXPLANATION = (
    ("Accuracy, balanced acc., macro-F1, ECE", "test set, in percent: mean ± standard deviation over seeds"),
    (
        "Gain",
        "accuracy (or what the table is ordered by) minus that of the better supervised row, in points: mean over the "
        "seeds that both rows have, and from two such seeds its 95 % t-interval over these differences",
    ),
    ("Optimism", "what choosing the best test evaluation would have added to it; never part of it"),
    ("Image passes, minutes", "per cell: images sent through the backbone in training, and the median time"),
    ("Labels", "training images whose label the method saw"),
)
