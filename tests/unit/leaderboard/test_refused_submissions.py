"""Which verified records may be submitted, and the reasons of the others."""

from ferbench.leaderboard.submission import submission
from ferbench.records.verification import verify_record
from tests.unit.records.factory import PROTOCOLS, make_cell, write_failure, write_record


def submitted(*paths):
    return submission([verify_record(path, PROTOCOLS) for path in paths], PROTOCOLS, [])


def test_a_record_of_a_protocol_that_is_not_installed_is_refused_and_the_others_go_on(tmp_path):
    seeds = [write_record(tmp_path, make_cell(seed=seed)) for seed in range(5)]
    diverged = write_failure(tmp_path, make_cell(protocol="lab-v1"))
    scored = write_record(tmp_path, make_cell(protocol="lab-v1", seed=1))
    found = submitted(*seeds, diverged, scored)
    assert set(found.cells) == {path.parent for path in seeds}
    assert set(found.refused) == {diverged.parent, scored.parent}
    assert all("install the plugin" in reason for reason in found.refused.values())


def test_a_diverged_seed_completes_its_row(tmp_path):
    seeds = [write_record(tmp_path, make_cell(seed=seed)) for seed in range(4)]
    found = submitted(*seeds, write_failure(tmp_path, make_cell(seed=4)))
    assert (len(found.cells), found.refused) == (5, {})


def test_a_record_that_is_not_standard_is_refused_with_the_reason(tmp_path):
    path = write_record(tmp_path, make_cell(seed=77), standard=False)
    (reason,) = submitted(path).refused.values()
    assert "seed 77" in reason and "inline" not in reason
