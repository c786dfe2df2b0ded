"""`ferbench run`: run a grid of cells, each of which writes a record."""

import os
import select
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ferbench.cli.completion import datasets, names_of
from ferbench.cli.config_file import config_file
from ferbench.cli.options import Decorator, runs_folder
from ferbench.cli.output import print_warning, warn_problems
from ferbench.cli.progress import RunDisplay
from ferbench.cli.session import Session
from ferbench.cli.values import parse_settings, split_decimals, split_integers, split_list
from ferbench.errors import MAX_LISTED, ExecutorError, InterruptedRun, UsageError, VerificationError
from ferbench.render.numbers import counted, duration
from ferbench.render.text import print_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ferbench.cells.request import RunRequest
    from ferbench.execution.plan import PlannedCell
    from ferbench.leaderboard.reported import Published

    Split = Callable[[Iterable[str], str], list[Any]]


ASKED_HOURS = 12
"""For runs that take longer than this, a user at a terminal is asked first."""
ANSWER_SECONDS = 60
"""Time for an answer once cells run. Then they go on, since nobody may be there."""
IN_BACKGROUND = "FERBENCH_IN_BACKGROUND"
"""Set by --detach for the process that it starts, which must not detach again. Do not set it yourself."""


def several(option: str, name: str, split: "Split" = split_list, **more: Any) -> Decorator:
    """An option that takes several values, separated by commas or given with repeated flags."""

    def parse(ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> list[Any]:
        if values and not any(str(value).strip(", ") for value in values):
            raise UsageError(f"{option}: names nothing; give a value, or omit the option")
        return split(values, option)

    metavar = "NAMES" if split is split_list else "NUMBERS"
    shown = "default" in more
    return click.option(option, name, multiple=True, metavar=metavar, callback=parse, show_default=shown, **more)


named = partial(click.option, metavar="NAME")


def preset(option: str, value: object, **more: Any) -> Decorator:
    """An option whose default is shown in the help."""
    return click.option(option, default=value, show_default=True, **more)


@click.command("run", context_settings={"auto_envvar_prefix": "FERBENCH_RUN"})
@config_file
@several(
    "--method",
    "methods",
    help="Rows: fixmatch, supervised@strong, fixmatch+leaf (list).",
    required=True,
    shell_complete=names_of("methods"),
)
@several("--ratio", "ratios", help="Labeled share of each class: 0.05,0.1 (list).", split=split_decimals)
@several("--labels", "counts", help="Total number of labels (list).", split=split_integers)
@several("--per-class", "per_class", help="Number of labels per class (list).", split=split_integers)
@named("--allocation", help="How --labels are distributed over the classes: balanced (default), adacm, leaf.")
@several(
    "--dataset",
    "datasets",
    help="Datasets, or folders with a dataset.json (list).",
    default=["synthfaces"],
    shell_complete=datasets,
)
@click.option("--classes", help="Task of the dataset, such as 7 or 8; the dataset's default if omitted.")
@named(
    "--unlabeled",
    help="Dataset with the unlabeled images, instead of the rest of the training set; rest+NAME uses both.",
    shell_complete=datasets,
)
@several(
    "--test-on",
    "test_on",
    help="Other datasets on which each trained model is also tested, on the classes that both have (list).",
    shell_complete=datasets,
)
@several(
    "--backbone",
    "backbones",
    help="small-resnet, timm/resnet18, ... (list); the protocol's if omitted.",
    shell_complete=names_of("backbones"),
)
@preset(
    "--init",
    "scratch",
    metavar="FILE",
    help="Initial weights: a local file, a registered name, 'hub' or 'scratch'.",
    shell_complete=names_of("weights", "hub", "scratch"),
)
@several("--seed", "seeds", help="Seeds: 0-4 or 0,3 (list).", default=["0"], split=split_integers)
@click.option("--variant", help="Preset of the method's options: described, released, ...")
@click.option("--head", help="Classification head; the method's own if omitted.", shell_complete=names_of("heads"))
@named(
    "--protocol",
    help="Rules of the comparison; default ratio-v1 with --ratio, count-v1 with numbers of labels.",
    shell_complete=names_of("protocols"),
)
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
    help="cpu, cuda (every GPU), cuda:1, cuda:0-3; auto is cuda if the machine that runs the cell has a GPU.",
)
@click.option(
    "--precision", type=click.Choice(["fp32", "bf16"]), help="If omitted, bf16 with --device cuda, else fp32."
)
@preset(
    "--compile",
    "off",
    type=click.Choice(["off", "net", "step"]),
    help="Compile net and loss (net) or capture whole steps as CUDA graphs (step); not standard.",
)
@preset("--threads", 1, type=click.IntRange(1), help="Number of threads per cell.")
@preset("--processes", 1, type=click.IntRange(1), help="Number of processes per cell under torchrun, each with a GPU.")
@click.option(
    "--jobs",
    type=click.IntRange(1),
    help="Number of cells that run at the same time; if omitted, one on the CPU or one per GPU.",
)
@click.option("--per-device", type=click.IntRange(1), help="Number of cells per GPU at the same time (executor local).")
@preset("--executor", "local", help="Where cells run.", shell_complete=names_of("executors"))
@click.option(
    "--executor-option",
    "executor_options",
    multiple=True,
    metavar="KEY=VALUE",
    help="Option of the executor; in a TOML file, the table [executor].",
)
@click.option("--timeout", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="Time limit of one cell.")
@click.option(
    "--only",
    type=click.Choice(["failed", "missing"]),
    help="Run only cells that failed, or only cells without a record.",
)
@preset(
    "--retries",
    0,
    type=click.IntRange(0),
    help="Number of times to run a failed cell again; diverged cells are never repeated.",
)
@click.option("--limit", type=click.IntRange(1), help="Run at most this many of the missing cells.")
@runs_folder()
@click.option(
    "--detach", is_flag=True, help="Run in the background, also after log-out; `ferbench status` shows the progress."
)
@click.option("--dry-run", is_flag=True, help="Show the grid and which cells are done; run nothing.")
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

    Options marked (list) take several values and multiply. Each cell writes a record under --runs. A cell that has a
    record is not run again, and an interrupted cell continues from its checkpoint.
    """
    # Not at the top: help must not wait for pydantic, nor a dry run for pandas.
    from ferbench.cells.request import RunRequest
    from ferbench.execution.executors import make_executor
    from ferbench.execution.plan import make_plan

    in_background = os.environ.pop(IN_BACKGROUND, None) is not None  # not for what this process starts
    given = parse_settings(executor_options, "--executor-option")
    if per_device is not None:
        given["per_device"] = per_device
    request = RunRequest(overrides=parse_settings(settings), executor_options=given, **options)
    with _ending_at_signals():
        plan = make_plan(request, session.registry, pack=not dry_run)
        warn_problems(session.registry.problems)
        missing = [item for item in plan if not item.cached and _is_wanted(item, request.runs, only)][:limit]
        if dry_run:
            _show_plan(plan, missing, request.runs)
            _offer_cpu_recipe(session, missing, request)
            return 0
        from ferbench.execution.api import execute, keep_plan, tidy, withdraw_cancellations

        tidy(plan)
        executor = make_executor(session.registry, request.executor, request.executor_options)
        slots = executor.places([item.job for item in missing], jobs)
        _announce(session, plan, missing, request, slots)
        if executor.spreads_over_gpus:
            _tell_room(jobs, slots, len(missing))
        ask_later = _ask_about_cost(missing, request, slots)
        if not in_background:  # otherwise this would withdraw a cancellation of what --detach has begun
            withdraw_cancellations(missing)
        keep_plan(missing, slots, session.arguments)
        if detach and missing and not in_background:
            _go_on_in_background(request.runs, session.arguments)
            return 0
        try:
            with RunDisplay([item.job for item in missing], session.registry, ask_later) as display:
                statuses = execute(missing, executor, slots, display, session.registry, retries)
        except KeyboardInterrupt:
            raise InterruptedRun(
                "interrupted; everything computed is saved, and the same command continues from there"
            ) from None
        except ExecutorError:
            _show_results(plan, request.runs)
            raise
    _show_results(plan, request.runs)
    return exit_code(statuses)


def _announce(
    session: Session, plan: "Sequence[PlannedCell]", missing: "Sequence[PlannedCell]", request: "RunRequest", slots: int
) -> None:
    """Say what runs, and why it is not standard, before anything runs."""
    cached = sum(item.cached for item in plan)
    click.echo(f"{counted(len(plan), 'cell')}: {cached} cached, {len(missing)} to run, {slots} at a time")
    _tell_departures(missing)
    _offer_cpu_recipe(session, missing, request)


def _tell_room(jobs: int | None, slots: int, cells: int) -> None:
    """Say that the GPUs have room for fewer cells at a time than --jobs asks for."""
    if jobs is not None and slots < min(jobs, cells):
        click.echo(f"--jobs {jobs}: the GPUs have {counted(slots, 'place')}; --per-device adds places")


def _tell_departures(missing: "Sequence[PlannedCell]") -> None:
    """Say why records will not be standard. Each reason is shown once, and a long list is cut."""
    reasons = list(dict.fromkeys(reason for item in missing for reason in item.departures))
    for reason in reasons[:MAX_LISTED]:
        click.echo(f"not standard: {reason}")
    if len(reasons) > MAX_LISTED:
        click.echo(f"not standard: {len(reasons) - MAX_LISTED} more reasons; --dry-run shows all")


def _is_wanted(item: "PlannedCell", runs: Path, only: str | None) -> bool:
    """Whether --only keeps a cell that has no valid result. A broken record counts as that of a failure."""
    from ferbench.records.schema import Record
    from ferbench.records.store import RECORD, read_or_broken

    path = runs / item.cell.folder() / RECORD
    if only is None or not path.exists():
        return only != "failed"
    found = read_or_broken(path)
    return only == "failed" and not (isinstance(found, Record) and found.result)


def _offer_cpu_recipe(session: Session, missing: "Sequence[PlannedCell]", request: "RunRequest") -> None:
    """If a recipe for GPUs would run on a CPU of this machine, say which options suit it."""
    from ferbench.cells.cpu_recipe import cpu_options
    from ferbench.data.sources import open_dataset
    from ferbench.execution.devices import visible_gpus
    from ferbench.execution.estimate import HERE

    if request.executor not in HERE or request.device not in ("auto", "cpu"):
        return
    usual = {(item.cell.protocol, item.job.dataset) for item in missing if not item.cell.overrides.protocol}
    if not usual or (request.device == "auto" and visible_gpus()):
        return
    protocol, dataset = min(usual)
    family = open_dataset(session.registry, dataset).info.family
    if options := cpu_options(session.registry.load("protocols", protocol), family):
        click.echo(f"this recipe is made for a GPU; for a CPU (results are not standard) add {shlex.join(options)}")


def _ask_about_cost(
    missing: "Sequence[PlannedCell]", request: "RunRequest", jobs: int
) -> "Callable[[float], None] | None":
    """Say how long the cells will take, if records of this machine tell. At a terminal, ask before a long run.

    Without such records, returns the function that asks when the first steps tell. About jobs of a cluster it does not
    ask later, because they go on without this command.
    """
    if not missing:
        return None
    from ferbench.execution.estimate import HERE, estimated_seconds, made_there
    from ferbench.records.schema import Record
    from ferbench.records.store import RunStore

    every = (found for _, found in RunStore(request.runs).iterate() if isinstance(found, Record))
    records = filter(made_there(request.executor, request.device), every)
    seconds = estimated_seconds([item.cell for item in missing], records)
    if seconds is None:
        return _ask_to_go_on if request.executor in HERE else None
    seconds /= min(jobs, len(missing))
    text = f"about {duration(seconds)}, according to the records in {request.runs}"
    if seconds > ASKED_HOURS * 3600 and _is_attended():
        click.confirm(f"{text}; begin?", abort=True)
    else:
        click.echo(text)
    return None


def _ask_to_go_on(seconds: float) -> None:
    """At a terminal, ask whether a long run goes on. If the answer is no, its cells save and stop."""
    if seconds <= ASKED_HOURS * 3600 or not _is_attended():
        return
    left = f"about {duration(seconds)} left, according to the first steps"
    click.echo(f"{left}; go on? [Y/n] (without an answer it goes on in {ANSWER_SECONDS} s) ", nl=False)
    answered, _, _ = select.select([sys.stdin], [], [], ANSWER_SECONDS)
    if answered and _is_attended() and sys.stdin.readline().strip().lower() in ("n", "no"):
        raise KeyboardInterrupt
    click.echo()


def _is_attended() -> bool:
    """Whether somebody at a terminal can answer: a shell's background job would be stopped if it read there."""
    try:
        return sys.stdin.isatty() and os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except OSError:  # the terminal is not that of this process's session
        return False


def _go_on_in_background(runs: Path, called: tuple[str, ...]) -> None:
    """Start the same command again, in its own session. A variable tells it that it is already in the background."""
    from ferbench.contract.executor import module_command
    from ferbench.records.plans import PLANS

    command, environment = module_command("ferbench", *called), {**os.environ, IN_BACKGROUND: "1"}
    log = runs / PLANS / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{os.getpid()}.log"
    with log.open("xb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, env=environment
        )
    click.echo(f"process {process.pid} continues in the background; its output is in {log}")
    click.echo(f"`ferbench status --runs {shlex.quote(str(runs))} --watch` shows it, `ferbench cancel` stops it")


@contextmanager
def _ending_at_signals() -> Iterator[None]:
    """Let SIGTERM (from SLURM, docker, timeout(1)) and SIGHUP (from a lost terminal) act like Ctrl-C."""
    from ferbench.execution.stopping import is_nohup

    if threading.current_thread() is not threading.main_thread():  # Python sets handlers only in the main thread
        yield
        return
    ending = [number for number in (signal.SIGTERM, signal.SIGHUP) if not is_nohup(number)]
    before = {number: signal.signal(number, signal.default_int_handler) for number in ending}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _show_plan(plan: "Sequence[PlannedCell]", missing: "Sequence[PlannedCell]", runs: Path) -> None:
    wanted = {id(item) for item in missing}
    rows = [
        (
            str(runs / item.cell.folder()),
            "cached" if item.cached else "to run" if id(item) in wanted else "left out",
            "; ".join(item.departures),
        )
        for item in plan
    ]
    print_table(("cell", "state", "not standard"), rows)
    click.echo(f"{counted(len(plan), 'cell')}, {len(missing)} to run; nothing was run (--dry-run)")


def _show_results(plan: "Sequence[PlannedCell]", runs: Path) -> None:
    from ferbench.leaderboard.published import distances
    from ferbench.records.metrics import shown_in
    from ferbench.records.schema import Record
    from ferbench.records.store import RECORD, read_or_broken

    metrics = shown_in("summary")
    rows, finished = [], []
    for item in plan:
        folder = runs / item.cell.folder()
        found = read_or_broken(folder / RECORD) if (folder / RECORD).exists() else None
        if isinstance(found, Record) and found.result:
            finished.append(found)
            scores = found.result.scores()
            rows.append((str(folder / RECORD), *(metric.text(scores[metric.key]) for metric in metrics)))
        else:
            state = found.status if isinstance(found, Record) else "broken" if found else "not run"
            rows.append((str(folder), state, *[""] * len(metrics)))
    print_table(("record", *(metric.short_title for metric in metrics)), rows)
    for line in distances(finished, _published()):
        click.echo(line)


def _published() -> "Sequence[Published]":
    """The published numbers that ferbench includes. An unreadable file of them does not fail a run."""
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
