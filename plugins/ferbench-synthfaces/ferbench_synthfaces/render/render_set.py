"""Render a whole dataset: shards in parallel processes, then one Parquet file per split and `dataset.json`."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ferbench.errors import FerbenchError, UsageError
from ferbench_synthfaces.render import GENERATOR_VERSION
from ferbench_synthfaces.render.assets import Assets, load_assets
from ferbench_synthfaces.render.expression import Expression, ExpressionSampler
from ferbench_synthfaces.render.identity import Identity, sample_identity
from ferbench_synthfaces.render.manifest import row, schema, write_table
from ferbench_synthfaces.render.plan import (
    CLASSES,
    UNLABELED,
    SetPlan,
    SplitPlan,
    class_counts,
    identity_rng,
    image_rng,
    plan_split,
)
from ferbench_synthfaces.render.scene import Shot, take_shot

SHARD_IMAGES = 50
WORK_FOLDER = ".shards"  # inside the output folder, removed at the end
LICENCE = "CC0-1.0"

Progress = Callable[[str, int], None]
"""Called with a split and the number of its images finished since the last call."""


@dataclass(frozen=True)
class Shard:
    """Consecutive images of a split, rendered by one process into one file."""

    plan: SetPlan
    split: str
    start: int
    stop: int
    path: Path


def render_set(plan: SetPlan, out: Path, workers: int, progress: Progress) -> None:
    """Render `plan` into the folder `out`; an interrupted run with the same plan continues where it stopped."""
    work = _open_folder(plan, out)
    shards = list(_shards(plan, work))
    missing = []
    for shard in shards:
        if shard.path.exists():
            progress(shard.split, shard.stop - shard.start)
        else:
            missing.append(shard)
    with _mapper(min(workers, len(missing))) as run:
        for shard in run(missing):
            progress(shard.split, shard.stop - shard.start)
    for split in plan.splits:
        tables = [pq.read_table(shard.path) for shard in shards if shard.split == split]
        write_table(pa.concat_tables(tables), out / f"{split}.parquet")
    _write_json(out / "dataset.json", describe(plan))
    shutil.rmtree(work)


def describe(plan: SetPlan) -> dict[str, Any]:
    """The contents of `dataset.json`."""
    labeled = [split for split in plan.splits if split not in UNLABELED]
    classes = {"7": list(CLASSES[:7]), "8": list(CLASSES)} if labeled else {}
    return {
        "name": plan.name,
        "title": "SynthFaces" if labeled else "SynthFaces FR pool",
        "family": "synthfaces",
        "version": GENERATOR_VERSION,
        "classes": classes,
        "default_classes": "7" if labeled else "",
        "licence": LICENCE,
        "generator": _generator(plan),
        "splits": {
            split: {"images": count, **({"classes": class_counts(count)} if split not in UNLABELED else {})}
            for split, count in plan.splits.items()
        },
    }


def _generator(plan: SetPlan) -> dict[str, Any]:
    return {"version": GENERATOR_VERSION, "seed": plan.seed, "size": plan.size, "difficulty": plan.level}


def _open_folder(plan: SetPlan, out: Path) -> Path:
    """Claim the output folder for a plan, or continue the same plan; return the folder of the shards.

    Raises UsageError if the folder is used by another plan or is not empty.
    """
    work = out / WORK_FOLDER
    note = work / "plan.json"
    claim = {"generator": GENERATOR_VERSION, **asdict(plan)}
    if note.exists():
        if json.loads(note.read_text("utf-8")) != claim:
            raise UsageError(
                f"{out}: contains an interrupted render with other options; repeat its command, or choose another --out"
            )
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out}: not an empty folder; choose another --out, or remove the folder first")
    else:
        work.mkdir(parents=True)
        _write_json(note, claim)
    return work


def _write_json(path: Path, content: dict[str, Any]) -> None:
    partial = path.with_suffix(".tmp")
    partial.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    os.replace(partial, path)


def _shards(plan: SetPlan, work: Path) -> Iterator[Shard]:
    for split, count in plan.splits.items():
        for start in range(0, count, SHARD_IMAGES):
            path = work / f"{split}-{start:07d}.parquet"
            yield Shard(plan, split, start, min(start + SHARD_IMAGES, count), path)


@contextmanager
def _mapper(workers: int) -> Iterator[Callable[[list[Shard]], Iterable[Shard]]]:
    """A function that renders shards in any order: in this process, or in `workers` new ones."""
    if workers <= 1:
        yield lambda shards: map(render_shard, shards)
        return
    # Spawned processes import numpy again; without this, each would start a BLAS thread per core.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    executor = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _start_worker)

    def run(shards: list[Shard]) -> Iterator[Shard]:
        try:
            for finished in as_completed([executor.submit(render_shard, shard) for shard in shards]):
                yield finished.result()
        except BrokenProcessPool:
            raise FerbenchError(
                "a rendering process died (out of memory?); repeat the command with fewer --workers"
            ) from None

    try:
        yield run
    finally:  # after an interrupt, shards in progress are finished and kept
        executor.shutdown(cancel_futures=True)


def _start_worker() -> None:
    """Leave Ctrl-C to the parent, and exit when it exits."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def render_shard(shard: Shard) -> Shard:
    """Render the images of a shard into its file."""
    assets = _assets()
    columns = schema(assets.action.names, labeled=shard.split not in UNLABELED)
    split_plan = _split_plan(shard.plan.seed, shard.split, shard.plan.splits[shard.split])
    images = range(shard.start, shard.stop)
    rows = [render_row(assets, shard.plan, shard.split, split_plan, index) for index in images]
    write_table(pa.Table.from_pylist(rows, schema=columns), shard.path)
    return shard


def render_row(assets: Assets, plan: SetPlan, split: str, split_plan: SplitPlan, index: int) -> dict[str, Any]:
    """One image of a plan as a row of the manifest."""
    identity, expression, shot = render_image(assets, plan, split, split_plan, index)
    subject = f"{split}-person-{split_plan.subjects[index]:06d}"
    return row(f"{split}-{index:06d}", subject, split_plan.labels[index], identity, expression, shot)


def render_image(
    assets: Assets, plan: SetPlan, split: str, split_plan: SplitPlan, index: int
) -> tuple[Identity, Expression, Shot]:
    """One image of a plan, with its person and expression."""
    difficulty = plan.difficulty(split)
    person = identity_rng(plan.seed, split, int(split_plan.subjects[index]))
    identity = sample_identity(assets, difficulty, person)
    rng = image_rng(plan.seed, split, index)
    expression = ExpressionSampler(assets.action.names).sample(split_plan.labels[index], difficulty, rng)
    return identity, expression, take_shot(assets, identity, expression, difficulty, plan.size, rng)


@cache
def _assets() -> Assets:
    """The assets, loaded once per process."""
    return load_assets()


@cache
def _split_plan(seed: int, split: str, count: int) -> SplitPlan:
    """The plan of a split, made once per process."""
    return plan_split(seed, split, count)
