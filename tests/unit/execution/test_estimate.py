import pytest

from ferbench.execution import estimate
from ferbench.execution.estimate import estimated_seconds, made_there
from ferbench.execution.provenance import processor
from ferbench.records.schema import Record
from ferbench.records.store import RunStore
from tests.unit.records.factory import (
    make_cell,
    make_history,
    make_predictions,
    make_record,
    write_failure,
    write_record,
)


def records(root):
    return [record for _, record in RunStore(root).iterate()]


def test_cells_cost_what_those_of_their_method_did(tmp_path):
    for seed in range(3):
        write_record(tmp_path, make_cell("fixmatch", seed))  # 90, 91, 92 s
        write_record(tmp_path, make_cell("supervised", seed + 10))  # 100, 101, 102 s
    cells = [make_cell("fixmatch", 7), make_cell("supervised", 7), make_cell("fixmatch", 8)]
    assert estimated_seconds(cells, records(tmp_path)) == pytest.approx(91 + 101 + 91)


def test_a_method_without_records_costs_what_others_on_its_backbone_did(tmp_path):
    write_record(tmp_path, make_cell("supervised", 10))
    assert estimated_seconds([make_cell("fixmatch", 0)], records(tmp_path)) == 100


def test_without_records_of_the_backbone_nothing_is_said(tmp_path):
    write_failure(tmp_path, make_cell("fixmatch", 0))
    assert estimated_seconds([make_cell("fixmatch", 1)], records(tmp_path)) is None
    write_record(tmp_path, make_cell("fixmatch", 0))
    assert estimated_seconds([make_cell("fixmatch", 1, backbone="small-vit")], records(tmp_path)) is None


def made(cpu: str, device: str = "cpu", executor: str = "local") -> Record:
    record = make_record(make_cell("fixmatch", 0), make_predictions(), make_history())
    measured = record.measured.model_copy(update={"device": device, "executor": executor})
    return record.model_copy(update={"measured": measured, "environment": {"cpu": cpu}})


def test_only_records_of_this_machine_tell_what_cells_cost_here(monkeypatch):
    here = processor()
    monkeypatch.setattr(estimate, "visible_gpus", lambda: [])
    assert made_there("local", "auto")(made(here))
    assert not made_there("local", "auto")(made("another processor"))
    assert not made_there("local", "auto")(made(here, "NVIDIA H200"))
    monkeypatch.setattr(estimate, "visible_gpus", lambda: ["0"])
    assert made_there("local", "cuda")(made(here, "NVIDIA H200"))
    assert made_there("local", "cpu")(made(here)) and not made_there("local", "auto")(made(here))


def test_records_of_a_cluster_tell_what_cells_cost_there():
    assert made_there("slurm", "cuda")(made("of a node", "NVIDIA H200", "slurm"))
    assert not made_there("slurm", "cuda")(made(processor()))
