"""What departs from the protocol is not standard: said before the run, in the record, and by verification."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ferbench.cells.request import RunRequest
from ferbench.contract.backbone import Network
from ferbench.discovery.registry import Registry
from ferbench.execution.plan import PlannedCell, make_plan
from ferbench.execution.run_cell import run_cell
from ferbench.execution.stopping import StopRequests
from ferbench.records.schema import Record
from ferbench.records.store import RunStore
from ferbench.records.verification import verify_record
from tests.support import example_methods as examples
from tests.unit.execution.test_inline import RECIPE, SHORT_V1

DRAFT_V1 = SHORT_V1.model_copy(update={"name": "draft-v1", "draft": True, "pool_order": "rank"})


class SilentlyAnother(examples.CoTraining):
    """Says that it evaluates the teacher, and does not."""

    evaluates = ""


@pytest.fixture
def extended(registry: Registry) -> Registry:
    """What is installed, `short-v1`, the example methods and views."""
    entries = {kind: dict(known) for kind, known in registry.entries.items()}
    base, where = entries["methods"]["fixmatch"], "tests.support.example_methods"
    entries["protocols"]["short-v1"] = replace(
        entries["protocols"]["ratio-v1"], name="short-v1", target="tests.unit.execution.test_inline:SHORT_V1"
    )
    entries["protocols"]["draft-v1"] = replace(
        entries["protocols"]["ratio-v2"], name="draft-v1", target=f"{__name__}:DRAFT_V1"
    )
    for method in examples.EXAMPLES:
        name = f"x-{method.__name__.lower()}"
        entries["methods"][name] = replace(base, name=name, target=f"{where}:{method.__name__}")
    entries["methods"]["x-silent"] = replace(base, name="x-silent", target=f"{__name__}:SilentlyAnother")
    for name, function in examples.KINDS.items():
        view = replace(entries["views"]["weak"], name=name, target=f"{where}:{function.__name__}")
        entries["views"][name] = view
    return replace(registry, entries=entries)


@pytest.fixture
def cell(extended: Registry, patterns: Path, tmp_path: Path) -> Any:
    def plan(method: str, protocol: str = "short-v1") -> PlannedCell:
        request = RunRequest(
            methods=[method], protocol=protocol, datasets=[str(patterns)], ratios=["0.1"], seeds=[0],
            runs=tmp_path, device="cpu",
        )  # fmt: skip
        (item,) = make_plan(request, extended)
        return item

    return plan


def run(item: PlannedCell, registry: Registry) -> Record:
    record = run_cell(item.job, registry, lambda event: None, StopRequests())
    assert record.error is None, record.error
    return record


def holds(item: PlannedCell) -> bool:
    path = RunStore(item.job.runs).folder(item.cell) / "record.json"
    return verify_record(path, {"short-v1": SHORT_V1}).holds


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        ("fixmatch", ""),
        ("x-withlars", ""),  # which says whose optimizer it is
        ("x-metapseudolabels", "own optimizer without a source: stage 'train': weight_decay=0.01"),
        ("x-fasthead", "own optimizer without a source: stage 'train': weight_decay=0.1, groups=1"),
        ("x-cotraining", "evaluates another model: mean of both EMA models"),
    ],
)
def test_a_departure_is_said_before_and_after_the_run(cell: Any, extended: Registry, method: str, reason: str) -> None:
    planned = cell(method)
    assert "; ".join(planned.departures) == reason
    record = run(planned, extended)
    assert record.standard == (not reason)
    assert (record.selection == SHORT_V1.selection) == (method != "x-cotraining")
    assert holds(planned)
    assert cell(method).cached, "the record of an equal run stands"


def test_the_record_names_optimizers_groups_and_what_was_spent(cell: Any, extended: Registry) -> None:
    record = run(cell("x-metapseudolabels"), extended)
    assert record.result is not None
    used = record.config.optimizers["train"]
    assert list(used) == ["main", "tutor"]
    assert used["tutor"].groups[0].settings["weight_decay"] == 0.01
    assert [len(facts.groups) for facts in used.values()] == [1, 1]
    assert sum(facts.groups[0].parameters for facts in used.values()) == 2 * record.result.parameters
    labeled, unlabeled = RECIPE.labeled_batch, RECIPE.unlabeled_batch
    assert record.result.forward_images == RECIPE.steps * (3 * labeled + 3 * unlabeled)
    assert record.result.optimizer_steps == 2 * RECIPE.steps
    lars = run(cell("x-withlars"), extended).config.optimizers["train"]["main"]
    assert lars.optimizer == "tests.support.example_methods.Lars"
    assert lars.departures == {"factory": "Lars"} and lars.source == "LARS, Alg. 1"


def test_who_says_the_teacher_and_evaluates_another_net_is_not_believed(cell: Any, extended: Registry) -> None:
    planned = cell("x-silent")
    assert planned.departures == ()
    record = run(planned, extended)
    assert (record.standard, record.selection) == (False, "another net than the EMA model")
    assert holds(planned)


def test_a_cell_that_calls_itself_standard_with_an_own_optimizer_fails(cell: Any, extended: Registry) -> None:
    planned = cell("x-fasthead")
    record = run(planned, extended)
    path = RunStore(planned.job.runs).folder(planned.cell) / "record.json"
    path.write_bytes(record.model_copy(update={"standard": True}).to_json())
    failures = verify_record(path, {"short-v1": SHORT_V1}).failures
    assert [check.name for check in failures] == ["standard"]


def test_networks_of_a_cell_are_built_as_its_net_is(cell: Any, extended: Registry, monkeypatch: Any) -> None:
    seen: list[tuple[Network, Network]] = []
    setup = examples.CoTraining.setup

    def watch(self: Any, net: Network, info: Any) -> None:
        setup(self, net, info)
        seen.append((net, self.networks["peer"]))

    monkeypatch.setattr(examples.CoTraining, "setup", watch)
    record = run(cell("x-cotraining"), extended)
    assert record.result is not None
    assert record.result.forward_images == 2 * RECIPE.steps * RECIPE.labeled_batch, "building counts no image"
    net, peer = seen[0]
    assert [type(module) for module in net.modules()] == [type(module) for module in peer.modules()]
    strides = [[p.stride() for p in each.parameters()] for each in (net, peer)]
    assert strides[0] == strides[1]
    assert not torch.equal(next(net.parameters()), next(peer.parameters()))


def test_views_of_plugins_reach_a_cell(cell: Any, extended: Registry) -> None:
    assert run(cell("x-ownviews"), extended).standard


def test_a_draft_is_never_standard_and_its_records_say_so(cell: Any, extended: Registry) -> None:
    planned = cell("fixmatch", "draft-v1")
    assert planned.departures == ("'draft-v1' is a draft",)
    record = run(planned, extended)
    assert not record.standard
    assert {name: record.config.protocol[name] for name in ("draft", "pool_order")} == {
        "draft": True,
        "pool_order": "rank",
    }
    path = RunStore(planned.job.runs).folder(planned.cell) / "record.json"
    # One day it is the standard. What was made under the draft stays what it was.
    registered = DRAFT_V1.model_copy(update={"draft": False})
    for protocol in (DRAFT_V1, registered):
        assert verify_record(path, {"draft-v1": protocol}).holds
    path.write_bytes(record.model_copy(update={"standard": True}).to_json())
    for protocol in (DRAFT_V1, registered):
        failures = verify_record(path, {"draft-v1": protocol}).failures
        assert [check.name for check in failures] == ["standard"]
