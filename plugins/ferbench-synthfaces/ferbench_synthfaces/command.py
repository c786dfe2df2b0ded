"""The command `ferbench synthfaces`."""

from __future__ import annotations

import os
import re
from pathlib import Path

import click

from ferbench.errors import InterruptedRun, UsageError
from ferbench_synthfaces.needs_render import needs_render
from ferbench_synthfaces.render.difficulty import LEVELS


@click.group()
def synthfaces() -> None:
    """SynthFaces: rendered faces with known expressions."""


@synthfaces.command()
@click.option("--n", "train", type=click.IntRange(min=0), default=8250, show_default=True, help="Training faces.")
@click.option("--n-test", "test", type=click.IntRange(min=0), help="Test faces.  [default: a quarter of --n]")
@click.option("--n-pool", "pool", type=click.IntRange(min=0), default=0, show_default=True, help="Unlabeled faces.")
@click.option(
    "--n-identities",
    "identities",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Unlabeled faces of other people, ten faces per person.",
)
@click.option("--size", type=click.IntRange(32, 512), default=64, show_default=True, help="Pixels per side.")
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="Random seed; another seed gives other faces.",
)
@click.option(
    "--difficulty",
    "level",
    type=click.Choice(list(LEVELS)),
    default="standard",
    show_default=True,
    help="How much pose, light and expression vary.",
)
@click.option("--workers", type=click.IntRange(min=1), help="Processes.  [default: one per core]")
@click.option("--name", help="Name of the dataset in records.  [default: the name of the folder]")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder to write.")
def render(
    train: int,
    test: int | None,
    pool: int,
    identities: int,
    size: int,
    seed: int,
    level: str,
    workers: int | None,
    name: str | None,
    out: Path,
) -> None:
    """Render your own dataset; use it with --dataset FOLDER.

    The same options give the same faces. Repeat the command to continue an interrupted render.
    """
    with needs_render():
        from ferbench_synthfaces.render.plan import SetPlan
        from ferbench_synthfaces.render.progress import report_progress
        from ferbench_synthfaces.render.render_set import render_set
    test = train // 4 if test is None else test
    plan = SetPlan(_set_name(name, out), seed, size, train, test, pool, level, identities)
    if not plan.splits:
        raise UsageError("nothing to render: give --n, --n-test, --n-pool or --n-identities")
    try:
        with report_progress(plan.splits) as progress:
            render_set(plan, out, workers or len(os.sched_getaffinity(0)), progress)
    except KeyboardInterrupt:
        raise InterruptedRun(f"{out}: interrupted; repeat the command to continue") from None
    click.echo(f"{out}: {', '.join(f'{count} {split}' for split, count in plan.splits.items())}")


def _set_name(name: str | None, out: Path) -> str:
    """The given name, or one derived from the folder; raises UsageError if the given name is malformed."""
    if name is None:
        return "-".join(re.findall(r"[a-z0-9]+", out.resolve().name.lower())) or "synthfaces-render"
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
        raise UsageError(f"--name {name}: use lower-case letters, digits and single hyphens")
    return name
