"""A streamed pool: memory stays flat however many images there are, and the engine hardly waits for them.

The images are made here. BENCH_IMAGES sets their number, 10,000 if it is omitted; 200,000 take 1 GB of disk.
"""

import io
import os
import shutil
import time
from multiprocessing import active_children
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pytest_benchmark.fixture import BenchmarkFixture

from ferbench.builtin.backbones.small_resnet import SmallResNet
from ferbench.builtin.methods.fixmatch import FixMatch
from ferbench.builtin.protocols import EXTERNAL_V1
from ferbench.contract.backbone import Network
from ferbench.contract.batch import MethodInfo
from ferbench.contract.head import LinearHead
from ferbench.data.load.stream import Stream
from ferbench.data.load.views import ViewMaker
from ferbench.data.prepare.stream_index import ensure_index
from ferbench.readers.open_stream import open_stream
from ferbench.training.loop import Training
from ferbench.training.run import Run
from ferbench.training.stage_cache import StageCache
from ferbench.training.task import Task
from ferbench.training.teacher import Teacher
from tests.support.archives import describe, labeled, record
from tests.support.random_pool import random_pool
from tests.support.stepping import Stepper

RECIPE = EXTERNAL_V1.recipes["synthfaces"]
IMAGES = int(os.environ.get("BENCH_IMAGES", "10000"))
STEPS = 40
CPU = torch.device("cpu")
LARGEST_WAIT = 0.10
DECODED = IMAGES * RECIPE.image_size**2 * 3
"""Bytes that a pool in memory would take, 1.4 GB in the full benchmark."""
LARGEST_GROWTH = min(64 * 2**20, DECODED / 2)


def write_faces(folder: Path, count: int) -> Path:
    """`train.rec` and `train.idx` of noisy JPEGs, each another image, about 5 kB each."""
    describe(folder, "recordio", name=f"bench-{count}")
    rng = np.random.default_rng(0)
    base = rng.integers(0, 256, (112, 112, 3), dtype=np.uint8)
    offset = 0
    with (folder / "train.rec").open("wb") as records, (folder / "train.idx").open("w") as index:
        for key in range(count):
            small = rng.integers(0, 256, (14, 14, 3), dtype=np.uint8)
            image = Image.fromarray(small).resize((112, 112), Image.Resampling.BICUBIC)
            content = record(labeled(_jpeg(Image.blend(image, Image.fromarray(base), 0.05)), key))
            index.write(f"{key}\t{offset}\n")
            offset += records.write(content)
    return folder


def _jpeg(image: Image.Image) -> bytes:

    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def memory_held() -> int:
    """Bytes that this process and its decoders hold; mapped files, which the system may drop any time, do not count."""
    return sum(private_bytes(pid) for pid in (os.getpid(), *(child.pid for child in active_children())))


def private_bytes(pid: int | None) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Private_Dirty:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("/proc/self/smaps_rollup has no Private_Dirty")


def stepper_on(stream: Stream, folder: Path) -> Stepper:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    backbone = SmallResNet(int(RECIPE.backbone.partition("/")[2]))
    net = Network(backbone, LinearHead(backbone.feature_size, 7)).to(memory_format=torch.channels_last)
    names = tuple("abcdefg")
    task = Task(
        random_pool(400, RECIPE.image_size),
        stream,
        ViewMaker(RECIPE, backbone.mean, backbone.std, CPU),
        names,
        CPU,
    )
    info = MethodInfo(names, (57,) * 7, 400, len(stream), RECIPE.steps, RECIPE.steps // 20, backbone.feature_size)
    method = FixMatch(FixMatch.Config(threshold=0.8))
    method.setup(net, info)
    teacher = Teacher(net, RECIPE.ema_decay)
    method.attach(net, teacher.net, torch.Generator(), info)
    run = Run(method, teacher, RECIPE, task, info, seed=0)
    return Stepper(Training(run, folder / "checkpoint", folder, StageCache(folder, {})))


@pytest.mark.benchmark(group="streamed pool, 112 px JPEG to 48 px")
def test_the_engine_hardly_waits_and_memory_stays_flat(tmp_path: Path, benchmark: BenchmarkFixture) -> None:
    source = write_faces(tmp_path / "faces", IMAGES)
    ensure_index(open_stream(write_faces(tmp_path / "few", 64)), RECIPE.image_size)  # what the first index imports
    before = memory_held()
    started = time.monotonic()
    index = ensure_index(open_stream(source), RECIPE.image_size)
    indexing, indexed = time.monotonic() - started, memory_held() - before
    stepper = stepper_on(Stream(index, np.arange(len(index)), CPU), tmp_path)
    memory: list[int] = []

    def step() -> None:
        stepper.step(len(memory))
        memory.append(memory_held())

    warm_up = 15
    for _ in range(warm_up):
        step()
    stepper.batches.take_waited()
    started = time.monotonic()
    benchmark.pedantic(step, rounds=STEPS)
    share = stepper.batches.take_waited() / (time.monotonic() - started)
    grown = int(np.median(memory[-10:]) - np.median(memory[warm_up : warm_up + 10]))
    print(
        f"\n{IMAGES} images indexed in {indexing:.0f} s with {indexed / 2**20:.0f} MiB; "
        f"waiting {100 * share:.1f} % of the time; memory grew by {grown / 2**20:.1f} MiB in {STEPS} steps"
    )
    benchmark.extra_info |= {"share of waiting": round(share, 4), "MiB grown": round(grown / 2**20, 1)}
    shutil.rmtree(source)
    assert indexed < LARGEST_GROWTH
    assert grown < LARGEST_GROWTH
    assert share <= LARGEST_WAIT
