"""The leak audit: does a run depend on data that a method must not see?

One cell is trained twice on copies of its dataset. In the second copy the labels of unlabeled images are permuted and
the test images are different. Labeled images, pool and rows stay the same, and neither run can find the original. Nets,
the method's state and pseudo-labels must then be equal, bit for bit. This is evidence against accidental and simple
leaks, not a proof: code can recognise an audit.
"""

import importlib.util
import io
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import torch
from PIL import Image, ImageOps

from ferbench.cells.method_plan import MethodPlan
from ferbench.cells.resolve import resolve
from ferbench.cells.select import DataNeeds, select
from ferbench.contract.dataset import Dataset, Sample
from ferbench.contract.executor import Job
from ferbench.data.prepare.pack import ensure_packed
from ferbench.discovery.registry import Registry
from ferbench.errors import FerbenchError, UsageError
from ferbench.execution.copies import own_environment, write_copy
from ferbench.execution.handover import TEST, CellFacts, ImageRows, hand_over
from ferbench.execution.rows import facts_of, rows_of_tests, training_rows
from ferbench.execution.run_cell import Events, Stop, sources_of
from ferbench.execution.trainer import train_apart
from ferbench.readers.parquet import ParquetDataset
from ferbench.readers.paths import ImageFiles
from ferbench.records.cell import Cell
from ferbench.records.in_progress import IN_PROGRESS, SAID
from ferbench.records.store import CHECKPOINT, MODEL
from ferbench.training.checkpoint import read_tensors


def is_auditable(cell: Cell) -> bool:
    """Whether a cell takes its unlabeled images and its test images from its own dataset, as an audit does."""
    return cell.pool is None and cell.test_on is None


def audit(job: Job, registry: Registry, folder: Path, events: Events, stop: Stop) -> list[str]:
    """Train a cell twice in an empty folder. Returns the names of the parts that differ: none if the method is honest.

    Raises UsageError for a method that declares that it sees more, and for a cell that is not `is_auditable`.
    """
    cell, plan = Cell.model_validate(dict(job.cell)), MethodPlan.model_validate(dict(job.plan))
    if plan.relabeled:
        raise UsageError(
            f"method '{cell.row}' declares that it sees labels beyond the budget; its records are never standard, and "
            "there is nothing to audit"
        )
    if not is_auditable(cell):
        raise UsageError("an audit takes the unlabeled images of the dataset itself; omit --unlabeled and --test-on")
    dataset = resolve(cell, registry, sources_of(job)).dataset
    files = ImageFiles(dataset.root)
    samples = [_plain(sample, files) for sample in dataset.samples() if isinstance(sample, Sample)]
    first, second = _Copy(folder / "first", job, cell), _Copy(folder / "second", job, cell)
    rows, labeled = first.choose(dataset, samples, registry, plan)
    second.write(dataset, _changed(samples, labeled))
    for copy in (first, second):
        copy.train(rows, events, stop)
    return list(_differences(first.folder, second.folder))


@dataclass(frozen=True)
class _Rows:
    facts: CellFacts
    training: Mapping[str, ImageRows]
    tests: ImageRows
    packed_size: int


class _Copy:
    """A copy of a dataset with its own folder and cache, and the run that is trained on it."""

    def __init__(self, root: Path, job: Job, cell: Cell) -> None:
        self.root, self.data = root, root / "data"
        # An installed dataset is opened by its name, since its package is copied too.
        source = job.dataset if job.dataset == cell.dataset else str(self.data)
        self.job = replace(job, dataset=source, runs=root / "runs")
        self.folder, self.cell = root / "runs" / cell.folder(), cell

    def write(self, dataset: Dataset, samples: Sequence[Sample]) -> None:
        """Write the copy. Files with labels that the dataset's own package ships are copied and changed too."""
        write_copy(self.data, dataset.info, samples)
        package = type(dataset).__module__.partition(".")[0]
        spec = importlib.util.find_spec(package)
        shipped = [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
        labels = {sample.id: sample for sample in samples}
        for place in shipped if package != "ferbench" else ():
            shutil.copytree(place, self.root / "packages" / package)
            for path in (self.root / "packages" / package).rglob("*.parquet"):
                _relabel(path, labels)

    def choose(
        self, dataset: Dataset, samples: Sequence[Sample], registry: Registry, plan: MethodPlan
    ) -> tuple[_Rows, set[str]]:
        """Write this copy unchanged. Returns the rows that both runs train on, and the ids of labeled images."""
        self.write(dataset, samples)
        with self._environment():
            resolved = resolve(self.cell, registry, opened=lambda source: ParquetDataset(self.data))
            data = select(resolved, needs=DataNeeds(plan.boxes, plan.relabeled))
            chosen = training_rows(resolved, data, unlabeled=plan.unlabeled, everything=plan.everything)
            tests, _ = rows_of_tests(data.images, data.selection.test)
        facts = facts_of(data, chosen, time.monotonic())
        labeled = {data.images.ids[row] for row in (*data.selection.labeled, *data.selection.validation)}
        return _Rows(facts, chosen.rows, tests, resolved.recipe.packed_size), labeled

    def train(self, rows: _Rows, events: Events, stop: Stop) -> None:
        """Train on this copy's pixels, in a process that knows no other copy."""
        work = self.folder / IN_PROGRESS
        with self._environment():
            stores = np.array([str(ensure_packed(ParquetDataset(self.data), rows.packed_size))])
            here = {name: replace(chosen, stores=stores) for name, chosen in rows.training.items()}
            hand_over(work, rows.facts, here)
            tests = replace(rows.tests, stores=stores)
            report = train_apart(self.job, work, events, stop, lambda: tests.write(work / TEST))
        if report.error is not None:
            raise FerbenchError(f"'{self.cell.row}' cannot be audited, because it fails: {report.error.line}")

    @contextmanager
    def _environment(self) -> Iterator[None]:
        """Within this block only the cache and the packages of this copy are used."""
        packages = [str(self.root / "packages"), *filter(None, [os.environ.get("PYTHONPATH")])]
        with own_environment(FERBENCH_CACHE=str(self.root / "cache"), PYTHONPATH=os.pathsep.join(packages)):
            yield


def _plain(sample: Sample, files: ImageFiles) -> Sample:
    """The sample with the bytes of its image. Shares of annotators become the label with the largest share."""
    label = max(sample.label, key=sample.label.__getitem__) if isinstance(sample.label, Mapping) else sample.label
    return replace(sample, image=files.read(sample), label=label)


def _changed(samples: Sequence[Sample], labeled: set[str]) -> list[Sample]:
    """The same samples, with permuted labels of images that are not `labeled`, and other images for the test ids."""
    changed, rng = list(samples), np.random.default_rng(0)
    hidden = [i for i, sample in enumerate(samples) if sample.split != "test" and sample.id not in labeled]
    tests = [i for i, sample in enumerate(samples) if sample.split == "test"]
    for place, other in zip(hidden, rng.permutation(hidden), strict=True):
        changed[place] = replace(samples[place], label=samples[other].label)
    for place, other in zip(tests, rng.permutation(tests), strict=True):
        changed[place] = replace(samples[place], image=_mirrored(samples[other]))
    return changed


def _mirrored(sample: Sample) -> bytes:
    """The mirrored image, encoded anew, so that it equals no file of the dataset."""
    assert isinstance(sample.image, bytes)
    buffer = io.BytesIO()
    ImageOps.mirror(Image.open(io.BytesIO(sample.image)).convert("RGB")).save(buffer, "PNG")
    return buffer.getvalue()


def _relabel(path: Path, samples: Mapping[str, Sample]) -> None:
    """If a file has ids and labels, replace its labels and images by those of the copy."""
    table = pyarrow.parquet.read_table(path)
    if not {"id", "label"} <= set(table.column_names):
        return
    rows = table.to_pylist()
    for row in rows:
        if (sample := samples.get(str(row["id"]))) is not None:
            row["label"] = sample.label
            if "image" in row:
                row["image"] = {**row["image"], "bytes": sample.image}
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema=table.schema), path)


def _differences(first: Path, second: Path) -> Iterator[str]:
    """Return the names of the outputs in which the two runs differ."""
    states = [read_tensors(folder / CHECKPOINT).tensors for folder in (first, second)]
    parts = {name.partition("/")[0] for name in (*states[0], *states[1])}
    titles = {"net": "the net", "teacher": "the teacher", "method": "the method's state", "optimizer": "the optimizer"}
    for part in sorted(parts & set(titles)):
        mine, others = ({n: v for n, v in state.items() if n.partition("/")[0] == part} for state in states)
        if mine.keys() != others.keys() or not all(torch.equal(mine[name], others[name]) for name in mine):
            yield titles[part]
    works = [folder / IN_PROGRESS for folder in (first, second)]
    if (works[0] / MODEL).read_bytes() != (works[1] / MODEL).read_bytes():
        yield "the net that is evaluated"
    epochs = sorted(
        {path.name for work in works for path in (work / SAID).glob("*")}, key=lambda name: int(Path(name).stem)
    )
    for name in epochs:
        files = [work / SAID / name for work in works]
        if not all(path.is_file() for path in files) or files[0].read_bytes() != files[1].read_bytes():
            yield f"pseudo-labels of epoch {Path(name).stem}"
            return
