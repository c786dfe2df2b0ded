"""`ferbench run`: a grid of cells, each to a record."""

import json
import shlex
import signal
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ferbench.cli.options import Decorator, runs_folder
from ferbench.cli.output import print_warning, warn_problems
from ferbench.cli.progress import RunDisplay
from ferbench.cli.session import Session
from ferbench.cli.values import parse_settings, split_integers, split_list
from ferbench.errors import ExecutorError, InterruptedRun, UsageError, VerificationError, suggestion
from ferbench.render.numbers import counted, duration
from ferbench.render.text import print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ferbench.cells.request import RunRequest
    from ferbench.execution.plan import PlannedCell
    from ferbench.leaderboard.reported import Published


ASKED_HOURS = 12
"""Of what takes longer, a person at a terminal is asked."""


def several(option: str, name: str, *, numbers: bool = False, metavar: str = "NAMES", **more: Any) -> Decorator:
    """An option of which there may be several, parted by commas or each with its own flag."""

    def parse(ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> list[Any]:
        return split_integers(values, option) if numbers else split_list(values)

    metavar = "NUMBERS" if numbers else metavar
    shown = "default" in more
    return click.option(option, name, multiple=True, metavar=metavar, callback=parse, show_default=shown, **more)


named = partial(click.option, metavar="NAME")


def preset(option: str, value: object, **more: Any) -> Decorator:
    """An option whose default help shows."""
    return click.option(option, default=value, show_default=True, **more)


def _read_config(ctx: click.Context, parameter: click.Parameter, path: Path | None) -> Path | None:
    """Make the tables `[run]` and `[executor]` the defaults, below the environment and the command line."""
    if path is None:
        return None
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        remedy = "write a [run] table with the names of options"
        raise UsageError(f"--config {path}: not TOML ({error}); {remedy}") from None
    table, of_executor = content.pop("run", {}), content.pop("executor", {})
    if not isinstance(table, dict) or not isinstance(of_executor, dict):
        raise UsageError(f"--config {path}: write [run] and [executor], and below them the names of options")
    if content:
        raise UsageError(
            f"--config {path}: unknown table or key '{next(iter(content))}'; options stand below [run], those of the "
            "executor below [executor]"
        )
    if of_executor and table.get("executor-option"):
        raise UsageError(f"--config {path}: has options of the executor in [executor] and below [run]; keep one")
    if of_executor:
        table["executor-option"] = of_executor
    known = {option.opts[0].removeprefix("--"): option for option in ctx.command.params if option is not parameter}
    defaults: dict[str, Any] = {}
    for key, value in table.items():
        if key not in known:
            raise UsageError(f"--config {path}: unknown key '{key}'{suggestion(key, known)}; it has {', '.join(known)}")
        defaults[str(known[key].name)] = _as_option(known[key], value)
    ctx.default_map = {**defaults, **(ctx.default_map or {})}
    return path


def _as_option(option: click.Parameter, value: Any) -> Any:
    """A value of the file as the command line would have it."""
    if isinstance(value, dict):
        return [f"{key}={json.dumps(item, default=str)}" for key, item in value.items()]
    if not option.multiple:
        return value
    values = value if isinstance(value, list) else [value]
    return [str(item).lower() if isinstance(item, bool) else str(item) for item in values]


@click.command("run", context_settings={"auto_envvar_prefix": "FERBENCH_RUN"})
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    is_eager=True,
    callback=_read_config,
    expose_value=False,
    help="TOML file with a [run] table of these options, and [executor] for those of --executor-option.",
)
@several("--method", "methods", help="Rows: fixmatch, supervised@strong, fixmatch+leaf (list).", required=True)
@several("--ratio", "ratios", help="Labeled part of each class: 0.05,0.1 (list).", metavar="NUMBERS")
@several("--labels", "counts", help="Number of labels in all (list).", numbers=True)
@several("--per-class", "per_class", help="Number of labels of each class (list).", numbers=True)
@named("--allocation", help="How --labels spread over the classes: balanced (default), adacm, leaf.")
@several("--dataset", "datasets", help="Datasets, or folders with a dataset.json (list).", default=["synthfaces"])
@click.option("--classes", help="Task of the dataset, such as 7 or 8; the dataset's default if omitted.")
@named(
    "--unlabeled",
    help="Dataset whose images are unlabeled, instead of the rest of the training set; rest+NAME: beside it.",
)
@several(
    "--test-on",
    "test_on",
    help="Other datasets that each trained model is tested on too, by the classes that both have (list).",
)
@several("--backbone", "backbones", help="small-resnet, timm/resnet18, ... (list); the protocol's if omitted.")
@preset(
    "--init",
    "scratch",
    metavar="FILE",
    help="Initial weights: a local file, a registered name, 'hub' or 'scratch'.",
)
@several("--seed", "seeds", help="Seeds: 0-4 or 0,3 (list).", default=["0"], numbers=True)
@click.option("--variant", help="Preset of the method's options: described, released, ...")
@click.option("--head", help="Classification head; the method's own if omitted.")
@named("--protocol", help="The rules of comparison; ratio-v1 for --ratio, count-v1 for numbers of labels.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Option of the method, or field of the protocol (then the result is not standard).",
)
@preset(
    "--device",
    "auto",
    help="cpu, cuda (every GPU), cuda:1, cuda:0-3; auto is cuda where the machine that runs a cell has a GPU.",
)
@click.option(
    "--precision", type=click.Choice(["fp32", "bf16"]), help="If omitted, bf16 with --device cuda, else fp32."
)
@preset("--threads", 1, type=click.IntRange(1), help="Threads of each cell.")
@preset("--processes", 1, type=click.IntRange(1), help="Processes that share each cell under torchrun, a GPU each.")
@click.option("--jobs", type=click.IntRange(1), help="Cells at a time; if omitted, one on the CPU and one on each GPU.")
@click.option("--per-device", type=click.IntRange(1), help="Cells at a time on each GPU; an option of executor local.")
@preset("--executor", "local", help="Where cells run.")
@click.option(
    "--executor-option",
    "executor_options",
    multiple=True,
    metavar="KEY=VALUE",
    help="Option of the executor; in a TOML file the table [executor].",
)
@click.option("--timeout", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="Longest time of one cell.")
@click.option(
    "--only",
    type=click.Choice(["failed", "missing"]),
    help="Of the cells without a result run those that failed, or those without a record.",
)
@preset("--retries", 0, type=click.IntRange(0), help="Run failed cells again so often; never those that diverged.")
@click.option("--limit", type=click.IntRange(1), help="Run at most this many of the missing cells.")
@runs_folder()
@click.option("--detach", is_flag=True, help="Go on in the background, also after log-out; `ferbench status` shows it.")
@click.option("--dry-run", is_flag=True, help="Show the grid and what is cached; run nothing.")
@click.pass_obj
def run(
    session: Session,
    settings: tuple[str, ...],
    executor_options: tuple[str, ...],
    jobs: int | None,
    per_device: int | None,
    only: str | None,
    retries: int,
    limit: int | None,
    detach: bool,
    dry_run: bool,
    **options: Any,
) -> int:
    """Train and evaluate every cell of the grid that has no result yet.

    Options marked (list) take several values and multiply. Each cell leaves a record under --runs; a cell that has one
    is not run again, and one that was interrupted goes on where it stopped.
    """
    # Not at the top: help must not wait for pydantic, nor a dry run for pandas.
    from ferbench.cells.request import RunRequest
    from ferbench.execution.executors import make_executor
    from ferbench.execution.plan import make_plan

    given = parse_settings(executor_options, "--executor-option")
    if per_device is not None:
        given["per_device"] = per_device
    request = RunRequest(overrides=parse_settings(settings), executor_options=given, **options)
    with _ending_at_signals():
        plan = make_plan(request, session.registry, pack=not dry_run)
        warn_problems(session.registry.problems)
        if dry_run:
            _show_plan(plan, request.runs)
            return 0
        from ferbench.execution.api import execute

        missing = [item for item in plan if not item.cached and _is_wanted(item, request.runs, only)][:limit]
        cached = sum(item.cached for item in plan)
        executor = make_executor(session.registry, request.executor, request.executor_options)
        slots = executor.places([item.job for item in missing], jobs)
        click.echo(f"{counted(len(plan), 'cell')}: {cached} cached, {len(missing)} to run, {slots} at a time")
        for reason in dict.fromkeys(reason for item in missing for reason in item.departures):
            click.echo(f"not standard: {reason}")
        _ask_about_cost(missing, request.runs, slots)
        _keep_plan(missing, request, slots, session.arguments)
        if detach:
            _go_on_in_background(request.runs, session.arguments)
            return 0
        try:
            with RunDisplay([item.job for item in missing], session.registry) as display:
                statuses = execute(missing, executor, slots, display, session.registry, retries)
        except KeyboardInterrupt:
            raise InterruptedRun(
                "interrupted; what was computed is saved, the same command goes on from there"
            ) from None
        except ExecutorError:
            _show_results(plan, request.runs)
            raise
    _show_results(plan, request.runs)
    return exit_code(statuses)


def _is_wanted(item: "PlannedCell", runs: Path, only: str | None) -> bool:
    """Whether --only leaves a cell that has no result."""
    from ferbench.records.store import RECORD

    return only is None or (runs / item.cell.folder() / RECORD).exists() == (only == "failed")


def _ask_about_cost(missing: "Sequence[PlannedCell]", runs: Path, jobs: int) -> None:
    """Say what the cells will cost, as far as records tell; on a terminal ask before what takes long."""
    if not missing:
        return
    from ferbench.execution.estimate import estimated_seconds
    from ferbench.records.schema import Record
    from ferbench.records.store import RunStore

    records = (found for _, found in RunStore(runs).iterate() if isinstance(found, Record))
    seconds = estimated_seconds([item.cell for item in missing], records)
    if seconds is None:
        return
    text = f"about {duration(seconds / min(jobs, len(missing)))}, by the records in {runs}"
    if seconds / jobs > ASKED_HOURS * 3600 and sys.stdin.isatty():
        click.confirm(f"{text}; begin?", abort=True)
    else:
        click.echo(text)


def _keep_plan(missing: "Sequence[PlannedCell]", request: "RunRequest", jobs: int, called: tuple[str, ...]) -> None:
    """Let everybody who sees the runs folder know what was asked for, and withdraw what was cancelled of it."""
    from ferbench.records.plans import Plan, write_plan
    from ferbench.records.store import RunStore

    store = RunStore(request.runs)
    for item in missing:
        store.allow(item.cell)
    if missing:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        cells = tuple(item.cell for item in missing)
        plan = Plan(command=called, executor=request.executor, slots=jobs, made_at=now, cells=cells)
        write_plan(request.runs, plan)


def _go_on_in_background(runs: Path, called: tuple[str, ...]) -> None:
    """Start the same command again, in a session of its own, without --detach."""
    from ferbench.records.plans import PLANS

    command = [sys.executable, "-m", "ferbench", *(word for word in called if word != "--detach")]
    log = runs / PLANS / f"{datetime.now(UTC):%Y%m%d-%H%M%S}.log"
    with log.open("xb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    click.echo(f"process {process.pid} goes on in the background; it prints to {log}")
    click.echo(f"`ferbench status --runs {shlex.quote(str(runs))} --watch` shows it, `ferbench cancel` stops it")


@contextmanager
def _ending_at_signals() -> Iterator[None]:
    """SIGTERM, which SLURM, docker and timeout(1) send, does what Ctrl-C does; so does SIGHUP of a lost terminal."""
    from ferbench.execution.stopping import is_nohup

    if threading.current_thread() is not threading.main_thread():  # only there Python lets handlers be set
        yield
        return
    ending = [number for number in (signal.SIGTERM, signal.SIGHUP) if not is_nohup(number)]
    before = {number: signal.signal(number, signal.default_int_handler) for number in ending}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _show_plan(plan: "Sequence[PlannedCell]", runs: Path) -> None:
    rows = [
        (str(runs / item.cell.folder()), "cached" if item.cached else "to run", "; ".join(item.departures))
        for item in plan
    ]
    print_table(("cell", "state", "not standard"), rows)
    click.echo(
        f"{counted(len(plan), 'cell')}, {sum(not item.cached for item in plan)} to run; nothing was run (--dry-run)"
    )


def _show_results(plan: "Sequence[PlannedCell]", runs: Path) -> None:
    from ferbench.leaderboard.published import distances
    from ferbench.records.metrics import shown_in
    from ferbench.records.store import RECORD, RunStore

    store, metrics = RunStore(runs), shown_in("summary")
    rows, finished = [], []
    for item in plan:
        folder = runs / item.cell.folder()
        record = store.read(item.cell) if store.folder(item.cell).exists() else None
        if record and record.result:
            finished.append(record)
            scores = record.result.scores()
            rows.append((str(folder / RECORD), *(metric.text(scores[metric.key]) for metric in metrics)))
        else:
            rows.append((str(folder), record.status if record else "not run", *[""] * len(metrics)))
    print_table(("record", *(metric.short_title for metric in metrics)), rows)
    for line in distances(finished, _published()):
        click.echo(line)


def _published() -> "Sequence[Published]":
    """The numbers that ferbench comes with; a file of them that cannot be read costs no run."""
    from ferbench.leaderboard.reported import read_reported, shipped

    try:
        return read_reported(shipped())
    except VerificationError as error:
        print_warning(str(error))
        return ()


def exit_code(statuses: list[str]) -> int:
    """0 if all is well, 130 if a cell was interrupted, 1 if a cell failed."""
    if "interrupted" in statuses:
        return InterruptedRun.exit_code
    return int(any(status != "ok" for status in statuses))
