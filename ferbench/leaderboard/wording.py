"""The texts and numbers of a table, the same for every output for people; each output escapes them itself."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from ferbench.leaderboard.keys import Key, start_text
from ferbench.leaderboard.published import commands
from ferbench.leaderboard.reported import Origin, Published, ReportedBlock
from ferbench.leaderboard.statistics import LEVEL, Paired, Recall, Spread
from ferbench.leaderboard.tables import Row, Table
from ferbench.leaderboard.trust import LEVELS
from ferbench.records.metrics import BY_KEY, Metric, shown_in
from ferbench.render.numbers import NONE, sentence_case


def published_text(row: Row, table: Table) -> str:
    """`84.42 [1]`: the published values of the row, each with the number of its footnote."""
    texts = []
    for value in table.published:
        if value.method == row.name:
            metric = value.block.origin.metric
            unusual = "" if metric == "accuracy" else f" {BY_KEY[metric].title}"
            texts.append(f"{value.percent:f}{unusual} [{table.blocks.index(value.block) + 1}]")
    return ", ".join(texts) or NONE


def footnotes(table: Table) -> tuple[str, ...]:
    """The origin of the published values, their selection, and other differences from the table."""
    here = f"Here: {table.key.backbone}, {start_text(table.key.init)}."
    notes = []
    for mark, block in enumerate(table.blocks, 1):
        facts = [f"{name}: {text}." for name, text in provenance(block.origin)]
        note = [block.note] if block.note else []
        notes.append(" ".join([f"[{mark}] {origin_heading(block.origin)}.", *facts, here, *note]))
    return tuple(notes)


def all_notes(table: Table) -> tuple[str, ...]:
    """The texts below a table: its own notes, then the footnotes."""
    return (*table.notes, *footnotes(table))


def origin_heading(origin: Origin) -> str:
    """`Li et al., CVPR 2022: Table 3`."""
    return f"{origin.citation}: {origin.source}"


def provenance(origin: Origin) -> tuple[tuple[str, str], ...]:
    """Names and texts of the facts about published values."""
    return (
        ("Address", origin.address),
        ("Selected on", origin.selected_on),
        ("Backbone", origin.backbone or "not stated"),
        ("Protocol", origin.protocol),
        *((("Reproduced by", f"protocol {origin.reproduced_by}"),) if origin.reproduced_by else ()),
    )


def block_heading(block: ReportedBlock) -> str:
    """`raf-db, 7 classes, 3068 test images: accuracy`."""
    test = "" if block.test_images is None else f", {block.test_images} test images"
    return f"{block.dataset}, {block.classes} classes{test}: {BY_KEY[block.origin.metric].title}"


def how_to_measure(values: Sequence[Published]) -> list[tuple[str, str]]:
    """Pairs for one block of published values: what a command does, and the command."""
    does = "Train as the paper does" if values[0].block.origin.reproduced_by else "Measure under the usual protocol"
    return [(does, command) for command in commands(values)]


def published_columns(values: Sequence[Published]) -> tuple[str, ...]:
    """The header of one block of published values: `Method`, then its budgets."""
    budgets = sorted({value.budget for value in values}, key=lambda budget: budget.order())
    return ("Method", *(budget.title() for budget in budgets))


def published_rows(values: Sequence[Published]) -> list[tuple[str, ...]]:
    """The methods of one block of published values; values that are shown in a measured table become `above`."""
    _, *budgets = published_columns(values)
    texts: dict[str, dict[str, str]] = {}
    for value in values:
        texts.setdefault(value.title, {})[value.budget.title()] = f"{value.percent:f}"
    return [(title, *(printed.get(budget, "above") for budget in budgets)) for title, printed in texts.items()]


def recall_columns(table: Table) -> tuple[str, ...]:
    """The header of the recalls: class names with the number of their test images."""
    counts = zip(table.key.class_names, table.class_counts, strict=True)
    return ("Method", *(f"{name} ({count})" for name, count in counts))


def recall_cells(row: Row) -> tuple[str, ...]:
    """Recall per class with Wilson's interval; a class without test images has none."""
    return (row.title, *map(recall_text, row.recalls.values()))


def recall_text(value: Recall | None) -> str:
    """`18.0 (10–31)*`, in percent; the star means: differs from the baseline, adjusted over all classes."""
    if value is None:
        return NONE
    star = "*" if value.p is not None and value.p < LEVEL else ""
    return f"{100 * value.mean:.1f} ({100 * value.low:.0f}–{100 * value.high:.0f}){star}"


def seeds(row: Row) -> str:
    """`5 (0–4)`: number of seeds, and which."""
    if not row.complete:
        return f"incomplete ({len(row.by_seed)} of {row.most_seeds} seeds)"
    numbers = sorted(row.by_seed)
    run = numbers == list(range(numbers[0], numbers[-1] + 1)) and len(numbers) > 1
    return f"{len(numbers)} ({f'{numbers[0]}–{numbers[-1]}' if run else ', '.join(map(str, numbers))})"


def mean_text(metric: Metric, value: Spread | None) -> str:
    """`81.2 ± 0.4`: mean and standard deviation."""
    if value is None:
        return NONE
    return metric.number(value.mean) + ("" if value.sd is None else f" ± {metric.number(value.sd)}")


def gain_text(metric: Metric, value: Paired | None) -> str:
    """`+3.1 (+1.2 to +5.0)`: mean and interval."""
    if value is None:
        return NONE
    mean = metric.number(value.mean, "+")
    if value.low is None or value.high is None:
        return mean
    return f"{mean} ({metric.number(value.low, '+')} to {metric.number(value.high, '+')})"


def interval_text(metric: Metric, value: Spread | None) -> str:
    """`75.9–80.2`: the interval of a mean."""
    if value is None or value.low is None or value.high is None:
        return NONE
    return f"{metric.number(value.low)}–{metric.number(value.high)}"


def place_text(row: Row, table: Table) -> str:
    """The number of a row, counted from the best; an incomplete row has none."""
    return str(table.rows.index(row) + 1) if row.complete else NONE


def tied_text(row: Row, table: Table) -> str:
    """`1, 3–5`: the numbers of the rows that are tied with this one; `none` if there are none."""
    if row.tied_with is None:
        return NONE
    places = [place for place, other in enumerate(table.rows, 1) if other.name in row.tied_with]
    runs = [[place for _, place in run] for _, run in groupby(enumerate(places), lambda pair: pair[1] - pair[0])]
    texts = (str(run[0]) if len(run) == 1 else f"{run[0]}{'–' if len(run) > 2 else ', '}{run[-1]}" for run in runs)
    return ", ".join(texts) or "none"


def p_text(p: float | None) -> str:
    """`0.034`, or `< 0.001`."""
    if p is None:
        return NONE
    return "< 0.001" if p < 0.0005 else f"{p:.3f}"


def trust_text(row: Row) -> str:
    """`consistent (2 of 5 reproduced), disputed`: lowest level of the row's cells, and how many have the highest."""
    trust = row.trust
    highest = max(trust.levels, key=LEVELS.index, default=trust.level)
    more = f" ({trust.levels[highest]} of {sum(trust.levels.values())} {highest})" if highest != trust.level else ""
    return f"{trust.level}{more}{', disputed' if trust.disputes else ''}"


def private_text(metric: Metric, row: Row) -> str:
    """`86.1 (-0.4)`: the score on private images, and its distance from the row's own score."""
    score, own = row.trust.private_score, row.metrics.get(metric.key)
    if score is None or own is None:
        return NONE
    return f"{metric.number(score)} ({metric.number(score - own.mean, '+')})"


def heading(key: Key) -> str:
    """`synthfaces, 7 classes, 5 % of the labels, ratio-v1, small-resnet/16`, or `trained on A, tested on B, ...`."""
    pool = "" if key.pool is None else f", unlabeled pool {key.pool}"
    data = f"{key.dataset}, {key.classes} classes"
    if key.test_on is not None:
        data = f"trained on {data}, tested on {key.test_on} ({len(key.class_names)} shared classes)"
    title = f"{data}, {key.budget.title()}{pool}, {key.protocol}, {key.backbone}"
    if key.standard:
        return title
    reasons = ["the protocol is a draft"] if key.draft else []
    reasons += [f"overrides {key.protocol_overrides}"] if key.protocol_overrides else []
    why = f" ({', '.join(reasons)})" if reasons else ""  # a note has the reasons of each row
    return f"Not standard{why}: {title}"


def headings(keys: Sequence[Key]) -> dict[Key, str]:
    """The heading of each table of a board; equal headings are extended by the fields that differ."""
    same: dict[str, list[Key]] = {}
    for key in keys:
        same.setdefault(heading(key), []).append(key)
    return {key: _apart(title, key, alike) for title, alike in same.items() for key in alike}


def _apart(title: str, key: Key, alike: Sequence[Key]) -> str:
    facts = [dict(_further(other)) for other in alike]
    return ", ".join([title, *(text for name, text in _further(key) if len({fact[name] for fact in facts}) > 1)])


def _further(key: Key) -> Iterator[tuple[str, str]]:
    """Names and texts of fields that a heading shows only if it would not be unique otherwise."""
    yield "init", start_text(key.init)
    yield "precision", key.precision
    yield "data", f"data {key.data[:12]}"
    yield "test", f"test images {key.test[:12]}"
    yield "folds", f"{key.folds} folds" if key.folds else "no folds"
    yield "headline", f"by {BY_KEY[key.headline].title}"
    yield "class_names", f"classes {', '.join(key.class_names)}"


def caption(table: Table) -> str:
    """The conditions that all rows of a table share, besides those in its heading."""
    key = table.key
    folds = f" in {key.folds} folds of subjects" if key.folds else ""
    order = "" if key.headline == "accuracy" else f", ordered by {BY_KEY[key.headline].title} (gains too)"
    return (
        f"Protocol {key.protocol}{order}, backbone {key.backbone}, {start_text(key.init)}, {key.precision}, "
        f"{sum(table.class_counts)} test images{folds}, data {key.data[:12] or 'unknown'}"
    )


def _of_the_test_set() -> Iterator[tuple[str, str]]:
    """Explain the metrics: those in percent together, each other one with its range."""
    metrics = shown_in("tables")
    percent = ", ".join(metric.short_title for metric in metrics if metric.percent)
    yield sentence_case(percent), "test set, in percent: mean ± standard deviation over seeds"
    for metric in metrics:
        if not metric.percent:
            scale = f"from {metric.low:g} to {metric.high:g}, mean ± standard deviation over seeds"
            yield sentence_case(metric.short_title), f"{metric.description}; {scale}"


EXPLANATION = (
    *_of_the_test_set(),
    (
        "95 % interval",
        "of the mean that orders the rows: accuracy, unless the table says otherwise. All intervals and p cover the "
        "variance of seeds and of the shared test images; those of ECE and of optimism cover that of seeds only",
    ),
    (
        "Gain, p",
        "accuracy (or the metric that orders the table) minus that of the better supervised row, in points: mean over "
        "the seeds that both rows have, its 95 % interval, and p adjusted by Holm over the gains of the table",
    ),
    (
        "Tied with",
        "numbers of the rows that do not differ significantly from this one: p of 0.05 or more, adjusted by Holm over "
        "all pairs of the table, which are more than the gains; needs five seeds",
    ),
    ("Recall", "of each class: mean over seeds and Wilson's 95 % interval for at most the number of its test images"),
    ("Optimism", "how much higher the score of the best test evaluation is; never part of the score"),
    ("Image passes, minutes", "per cell: images sent through the backbone in training, and the median time"),
    ("Labels", "training images whose label the method saw"),
    (
        "Trust",
        "the lowest level of the row's cells: submitted, consistent (the record agrees with itself), re-evaluated (its "
        "model gives its predictions), reproduced (trained again here, and audited for leaks); docs/trust.md explains "
        "the levels",
    ),
)
