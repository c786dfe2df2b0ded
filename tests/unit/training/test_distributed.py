"""Two processes train as one with the whole batch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from ferbench.conformance.toy_task import RECIPE
from ferbench.errors import UsageError
from ferbench.training.distributed import check_parts, check_processes
from tests.support.refusals import refused

TRAIN = """
import json, os, sys, torch
from pathlib import Path
from tests.unit.training.pretrained import Pretrained
from ferbench.conformance.toy_task import toy_training
from ferbench.training.loop import train
from ferbench.contract.method import MethodConfig
from ferbench.training.distributed import join_processes

torch.set_num_threads(1)
processes = join_processes(torch.device("cpu"), int(os.environ.get("WORLD_SIZE", "1")))
training = toy_training(Pretrained(MethodConfig()), Path(sys.argv[1]), processes=processes)
history = train(training).history
if processes.rank == 0:
    (Path(sys.argv[1]) / "losses.json").write_text(json.dumps([row.loss for row in history]))
"""


def train(folder: Path, *launcher: str) -> list[float]:
    folder.mkdir()
    script = folder / "train.py"
    script.write_text(TRAIN)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, *launcher, str(script), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return [float(loss) for loss in json.loads((folder / "losses.json").read_text())]


@pytest.mark.storm
def test_two_processes_have_the_losses_of_one_with_the_double_batch(tmp_path: Path) -> None:
    one = train(tmp_path / "one")
    two = train(tmp_path / "two", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    assert two[:20] == pytest.approx(one[:20], rel=1e-4), "of the pre-training"
    assert two == pytest.approx(one, rel=1e-4, abs=1e-3)  # rounding grows along the way


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    check_processes(RECIPE, "cpu", 4)
    with pytest.raises(UsageError, match="labeled_batch 8 cannot be shared by 3 processes"):
        check_processes(RECIPE, "cpu", 3)


def test_processes_need_a_gpu_each() -> None:
    check_processes(RECIPE, "cuda", 2)
    check_processes(RECIPE, "cuda:0", 1)
    with refused(UsageError, "--device cuda:0", "2 processes", "--device cuda"):
        check_processes(RECIPE, "cuda:0", 2)


def test_a_net_that_would_see_the_cuts_is_refused() -> None:
    net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))
    check_parts(net, 1)
    with refused(UsageError, "BatchNorm", "--processes"):
        check_parts(net, 2)


GATHER = """
import os, sys, torch
from ferbench.training.distributed import join_processes

processes = join_processes(torch.device("cpu"), int(os.environ.get("WORLD_SIZE", "1")))
whole = torch.arange(8.0).view(4, 2) / 8
weight = torch.tensor([[0.5, -1.0], [2.0, 0.25]], requires_grad=True)
mine = processes.part(whole) @ weight
everything = processes.gather(mine)
loss = ((processes.part(whole) @ weight) @ everything.T).logsumexp(-1).mean()
loss.backward()
gradient = processes.mean(weight.grad)
if processes.rank == 0:
    torch.save(gradient, os.path.join(sys.argv[1], "gradient.pt"))
"""


@pytest.mark.storm
def test_gradient_flows_through_gather_as_in_one_process(tmp_path: Path) -> None:
    script = tmp_path / "gather.py"
    script.write_text(GATHER)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    found = []
    for launcher in ((), ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")):
        command = [sys.executable, *launcher, str(script), str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
        assert done.returncode == 0, done.stderr[-3000:]
        found.append(torch.load(tmp_path / "gradient.pt", weights_only=True))
    torch.testing.assert_close(found[1], found[0])
