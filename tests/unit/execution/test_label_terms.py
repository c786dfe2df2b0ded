"""The protocol plugin of docs/protocols.md, installed and run: held-out images and wrong labels, from cell to table."""

import copy
import json
import re
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ferbench.builtin.methods.supervised import Supervised
from ferbench.cells.fingerprints import recompute
from ferbench.cells.request import RunRequest
from ferbench.cells.resolve import resolve
from ferbench.cells.select import CellData, select
from ferbench.contract.backbone import Network
from ferbench.contract.batch import MethodInfo
from ferbench.contract.stage import EpochContext
from ferbench.discovery.loader import load_registry
from ferbench.discovery.registry import Registry
from ferbench.execution.plan import make_plan
from ferbench.execution.run_cell import run_cell, sources_of
from ferbench.execution.stopping import StopRequests
from ferbench.leaderboard.tables import make_board
from ferbench.records.frame import load
from ferbench.records.schema import Record
from ferbench.records.verification import verify_record
from tests.unit.discovery.test_loader import Distribution, EntryPoint, plugin, registering

PAGE = Path(__file__).parents[3] / "docs" / "protocols.md"
SHORT = {"image_size": 16, "steps": 20, "labeled_batch": 4, "unlabeled_batch": 4, "evaluations": 1}


class EarlyStopping(Supervised):
    """Keeps the EMA model of the epoch that was best on the validation images."""

    def setup(self, net: Network, info: MethodInfo) -> None:
        self.best = copy.deepcopy(net).requires_grad_(False)
        self.register_buffer("score", torch.tensor(-1.0))
        self.register_buffer("pool", torch.tensor([info.n_labeled, info.n_validation, *info.class_counts]))

    def end_epoch(self, context: EpochContext) -> Mapping[str, Tensor]:
        found = context.predict("validation")
        score = (found.logits.argmax(1) == found.labels).float().mean()
        for kept, new in zip(self.best.state_dict().values(), self.teacher.state_dict().values(), strict=True):
            kept.copy_(torch.where(score > self.score, new, kept))
        self.score.copy_(torch.maximum(self.score, score))
        return {"validation": score, "labels": found.labels, "told": self.pool}

    def evaluation_net(self) -> Network:
        return self.best


class Peeking(Supervised):
    """Asks for a pool that there is not."""

    def end_epoch(self, context: EpochContext) -> Mapping[str, Tensor]:
        context.predict("test")  # type: ignore[arg-type]
        return {}


def files_of_the_page() -> dict[str, str]:
    """The files of the example by their paths."""
    blocks = re.findall(r"```\w+\n# (\S+)\n(.+?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return dict(blocks)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """The built-ins, the plugin of the page, and the methods above."""
    root = tmp_path_factory.mktemp("noisy")
    for name, text in files_of_the_page().items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    point = re.search(r'^noisy-labels = "(.+)"$', (root / "pyproject.toml").read_text(), re.MULTILINE)
    assert point

    def imported() -> object:
        __import__(point[1])
        return sys.modules[point[1]]

    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(root)
        points = [EntryPoint("noisy-labels", Distribution("ferbench-noisy-labels", "1.0"), imported)]
        for name, method in (("early", "EarlyStopping"), ("peeking", "Peeking")):
            points.append(plugin(f"ferbench-{name}", **registering(name, target=f"{__name__}:{method}")))
        yield load_registry({"FERBENCH_STRICT_PLUGINS": "1"}, points)  # type: ignore[arg-type]
    for name in [name for name in sys.modules if name.startswith("ferbench_noisy_labels")]:
        del sys.modules[name]


def ran(registry: Registry, patterns: Path, runs: Path, *methods: str) -> list[tuple[Record, CellData]]:
    request = RunRequest(
        methods=methods, protocol="noisy-ratio-v1", datasets=[str(patterns)], ratios=["0.3"],
        backbones=["small-resnet/4"], overrides=SHORT, runs=runs, device="cpu", executor="inline",
    )  # fmt: skip
    made = []
    for item in make_plan(request, registry):
        record = run_cell(item.job, registry, lambda event: None, StopRequests())
        made.append((record, select(resolve(item.cell, registry, sources_of(item.job)))))
    return made


@pytest.fixture(scope="module")
def runs(installed: Registry, patterns: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    ran(installed, patterns, root, "early", "supervised@weak", "supervised@strong")
    return root


def test_the_example_of_the_page_is_whole() -> None:
    assert set(files_of_the_page()) == {
        "pyproject.toml",
        "ferbench_noisy_labels/plugin.py",
        "ferbench_noisy_labels/protocols.py",
    }


def test_a_method_is_given_held_out_images_and_what_it_sees_is_recorded(
    installed: Registry, patterns: Path, runs: Path
) -> None:
    (record, data), (other, _), _ = ran(
        installed, patterns, runs, "early", "supervised@weak", "supervised@strong"
    )  # they are done already
    result, split = record.result, data.selection
    assert result and other.result
    # 30 % of 60, 40 and 20 images, every tenth of which is held out.
    assert (result.n_labeled, result.n_validation, result.labels_seen) == (18 + 12 + 6 - 2, 2, 36)
    assert len(split.validation) == 2
    images = data.images
    assert {images.splits[row] for row in split.validation + split.labeled} == {"train"}
    pools = [set(rows) for rows in (split.labeled, split.validation, split.unlabeled, split.test)]
    assert sum(map(len, pools)) == len(set().union(*pools)) == len(images.ids)
    # Every method has the same.
    assert other.result.fingerprints == result.fingerprints
    assert record.config.protocol["label_noise"] == {"rate": 0.2}
    assert record.config.protocol["validation"] == {"share": 0.1}
    assert "validation images" in record.selection
    method = json.loads((runs / record.cell.folder() / "history.json").read_text())[-1]["method"]
    names = result.class_names
    assert method["told"] == [34, 2, *(result.labeled_counts[name] for name in names)]
    assert [names[label] for label in map(int, method["labels"])] == [
        split.seen.labels[row] for row in split.validation
    ]


def test_the_records_verify_where_the_protocol_is_installed_and_are_unchecked_elsewhere(
    installed: Registry, runs: Path
) -> None:
    protocols = {"noisy-ratio-v1": installed.load("protocols", "noisy-ratio-v1")}
    paths = sorted(runs.rglob("record.json"))
    assert len(paths) == 3
    for path in paths:
        found = verify_record(path, protocols, partial(recompute, registry=installed))
        assert found.holds, found.failures
    elsewhere = verify_record(paths[0], {}, partial(recompute, registry=load_registry({"FERBENCH_PLUGINS": ""})))
    assert elsewhere.holds
    assert any("noisy-ratio-v1" in check.detail for check in elsewhere.unchecked if check.name == "split")


def test_a_table_says_what_the_labels_are(runs: Path) -> None:
    (table,) = make_board(load(runs), include_nonstandard=True).tables
    assert table.key.protocol == "noisy-ratio-v1"
    assert any(note.startswith("10 % of the labels of each class are held out") for note in table.notes)
    assert any("wrong with probability 0.2;" in note for note in table.notes)


def test_another_pool_than_the_protocols_is_refused(installed: Registry, patterns: Path, tmp_path: Path) -> None:
    ((record, _),) = ran(installed, patterns, tmp_path, "peeking")
    assert record.error
    assert "there are the pools 'labeled', 'validation', 'unlabeled'" in record.error.message
