"""What an entry of trust.json is worth, and when it ends."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest

from ferbench.discovery.loader import builtin_protocols
from ferbench.errors import DataError, VerificationError
from ferbench.leaderboard import trust as module
from ferbench.leaderboard.build import build, stale
from ferbench.leaderboard.exports import board_frame
from ferbench.leaderboard.tables import Row, make_board
from ferbench.leaderboard.trust import (
    CHECKER_VERSION,
    Dispute,
    ReEvaluation,
    Reproduction,
    Scoring,
    Trust,
    TrustFile,
    level_of,
    read_trust,
    with_trust,
)
from ferbench.records.agreement import verify_all
from ferbench.records.frame import read_frame, verified_frame
from ferbench.records.known import NOTHING
from ferbench.records.publication import PUBLISHED, publish
from ferbench.records.schema import Record
from ferbench.records.store import MODEL, read_record
from ferbench.records.verification import verify_record
from tests.unit.records.factory import make_cell, make_history, make_predictions, make_record, write_record

LOOKED_AT = ReEvaluation(largest_difference=0.0, other_classes=0)
EQUAL = Reproduction(equal=True, headline=0.9, spread=None)
NEAR = Reproduction(equal=False, headline=0.9, spread=0.02)
NOT_HELD = "consistent (data not held)"
"""The highest level of records whose data is neither here nor pinned."""
LINK = "https://example.org/discussion/1"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_record(tmp_path / "records", make_cell())


def level(path: Path, trust: Trust) -> str:
    found = verify_record(path, builtin_protocols())
    return level_of(path, read_record(path), found.verdict.level, trust)


def noting(path: Path, *evidence: ReEvaluation | Reproduction) -> Trust:
    trust = Trust()
    for each in evidence:
        trust = trust.noting(path, read_record(path), each)
    return trust


@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        ((), NOT_HELD),
        ((LOOKED_AT,), "re-evaluated"),
        ((EQUAL,), "reproduced"),
        ((NEAR,), NOT_HELD),
        ((LOOKED_AT, NEAR), "reproduced"),
        ((LOOKED_AT, EQUAL), "reproduced"),
    ],
)
def test_what_evidence_is_worth(path: Path, evidence: tuple[ReEvaluation, ...], expected: str) -> None:
    assert level(path, noting(path, *evidence)) == expected


@pytest.mark.parametrize("name", ["predictions.parquet", "history.json"])
def test_a_record_whose_files_do_not_hold_is_submitted(path: Path, name: str) -> None:
    trust = noting(path, EQUAL)
    (path.parent / name).write_bytes((path.parent / name).read_bytes()[:-2])
    assert level(path, trust) == "submitted"


def _other_record(path: Path) -> None:
    fields = json.loads(path.read_text())
    fields["measured"]["peak_memory_bytes"] = 12_345
    path.write_text(json.dumps(fields))


def _other_bytes_of_history(path: Path) -> None:
    history = path.parent / "history.json"
    history.write_text(json.dumps(json.loads(history.read_text()), indent=7))


def _other_bytes_of_predictions(path: Path) -> None:
    predictions = path.parent / "predictions.parquet"
    pyarrow.parquet.write_table(pyarrow.parquet.read_table(predictions), predictions, compression="none")


def _other_model(path: Path) -> None:
    (path.parent / MODEL).write_bytes(b"another")


@pytest.mark.parametrize(
    "edit",
    [_other_record, _other_bytes_of_history, _other_bytes_of_predictions, _other_model],
    ids=lambda f: f.__name__,
)
def test_an_edit_of_a_bound_file_ends_an_entry_although_the_record_holds(path: Path, edit) -> None:
    trust = noting(path, LOOKED_AT, EQUAL)
    assert level(path, trust) == "reproduced"
    edit(path)
    assert level(path, trust) == NOT_HELD
    # what is found afterwards does not revive what was found before
    if edit is not _other_model:
        assert level(path, trust.noting(path, read_record(path), LOOKED_AT)) == "re-evaluated"


def test_logits_without_labels_are_bound_as_predictions_are(path: Path, tmp_path: Path) -> None:
    published = tmp_path / "published" / make_cell().folder() / "record.json"
    publish(path.parent, published.parent, NOTHING)
    TrustFile(tmp_path / "trust.json").note(published, read_record(published), LOOKED_AT)
    trust = read_trust(tmp_path / "trust.json")
    assert level(published, trust) == "re-evaluated"
    logits = published.parent / PUBLISHED
    pyarrow.parquet.write_table(pyarrow.parquet.read_table(logits), logits, compression="none")
    assert level(published, trust) == NOT_HELD


def test_a_missing_file_is_named(path: Path, tmp_path: Path) -> None:
    (path.parent / "predictions.parquet").unlink()
    with pytest.raises(DataError, match=r"predictions\.parquet"):
        TrustFile(tmp_path / "trust.json").note(path, read_record(path), LOOKED_AT)


def test_an_entry_ends_with_its_edition_and_with_the_version_of_the_checker(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust = noting(path, EQUAL)
    assert level(path, trust.model_copy(update={"edition": "2"})) == NOT_HELD
    monkeypatch.setattr(module, "CHECKER_VERSION", CHECKER_VERSION + 1)
    assert level(path, trust) == NOT_HELD


def test_an_entry_of_one_cell_says_nothing_of_another(path: Path, tmp_path: Path) -> None:
    trust = noting(path, EQUAL)
    (entry,) = trust.entries.values()
    other = write_record(tmp_path / "records", make_cell(seed=1))
    moved = trust.model_copy(update={"entries": {str(make_cell(seed=1).folder()): entry}})
    assert level(other, moved) == NOT_HELD


def verified(root: Path) -> pd.DataFrame:
    return verified_frame(verify_all([root], builtin_protocols()))


def only_row(root: Path, trust: Trust) -> Row:
    cells = with_trust(verified(root), trust)
    (table,) = make_board(cells).tables
    return table.rows[0]


def test_the_level_of_a_row_is_the_lowest_of_its_cells(tmp_path: Path) -> None:
    paths = [write_record(tmp_path / "records", make_cell(seed=seed)) for seed in range(3)]
    trust = Trust()
    for path, evidence in zip(paths[:2], (EQUAL, LOOKED_AT), strict=True):
        trust = trust.noting(path, read_record(path), evidence)
    row = only_row(tmp_path / "records", trust)
    assert row.trust.level == NOT_HELD
    assert row.trust.levels == {NOT_HELD: 1, "re-evaluated": 1, "reproduced": 1}
    assert only_row(tmp_path / "records", trust.noting(paths[2], read_record(paths[2]), EQUAL)).trust.level == (
        "re-evaluated"
    )


def test_rows_that_nobody_has_looked_at_are_submitted(path: Path) -> None:
    cells = read_frame(path.parents[1], builtin_protocols())
    assert make_board(cells).tables[0].rows[0].trust.level == "submitted"


def test_a_cell_has_one_score_in_an_edition_whichever_model_it_has(path: Path) -> None:
    record = read_record(path)
    trust = noting(path, LOOKED_AT).scored(record, 0.87654)
    assert [one.score for one in trust.scorings] == [0.877]
    with pytest.raises(VerificationError, match="edition 1"):
        trust.scored(record, 0.9)
    with pytest.raises(VerificationError, match="edition 1"):
        trust.scored(with_model(record, "0" * 64), 0.9)
    assert len(trust.model_copy(update={"edition": "2"}).scored(record, 0.9).scorings) == 2


def with_model(record: Record, digest: str) -> Record:
    assert record.result is not None
    return record.model_copy(update={"result": record.result.model_copy(update={"model_digest": digest})})


def test_a_score_is_shown_of_the_model_that_was_scored_and_looked_at(path: Path, tmp_path: Path) -> None:
    record = read_record(path)
    looked_at = noting(path, LOOKED_AT)
    assert only_row(tmp_path / "records", looked_at.scored(record, 0.5)).trust.private_score == 0.5
    assert only_row(tmp_path / "records", looked_at).trust.private_score is None
    assert only_row(tmp_path / "records", Trust().scored(record, 0.5)).trust.private_score is None
    other = looked_at.scored(with_model(record, "0" * 64), 0.5)
    assert only_row(tmp_path / "records", other).trust.private_score is None


def test_disputes_stand_beside_the_row_and_change_no_level(tmp_path: Path) -> None:
    root = tmp_path / "records"
    for method in ("supervised", "fixmatch"):
        for seed in (0, 1):
            write_record(root, make_cell(method, seed))
    place = str(make_cell("fixmatch").folder().parents[1])
    reason = "a | table's [end](javascript:alert) <script>"
    trust = Trust(disputes=[Dispute(place=place, reason=reason, link=LINK)])
    (tmp_path / "trust.json").write_text(trust.model_dump_json())
    cells = verified(root)
    board, _ = build(cells, tmp_path, include_nonstandard=False)
    rows = {row.name: row.trust for row in board.tables[0].rows}
    assert rows["fixmatch"].level == rows["supervised@weak"].level == NOT_HELD
    assert [one.reason for one in rows["fixmatch"].disputes] == [reason]
    assert not rows["supervised@weak"].disputes
    page = (tmp_path / "leaderboard.md").read_text()
    assert "| consistent (data not held), disputed |" in page
    assert "fixmatch is disputed: a " in page and "<script>" not in page
    frame = board_frame(board).set_index("method")
    assert frame.loc["fixmatch", "disputes"] == LINK
    fields = json.loads((tmp_path / "leaderboard.json").read_text())["tables"][0]["rows"]
    assert {row["method"]: row["disputes"] for row in fields}["fixmatch"] == [{"reason": reason, "link": LINK}]
    (tmp_path / "trust.json").unlink()
    assert len(stale(cells, tmp_path, include_nonstandard=False)) == 3


@pytest.mark.parametrize("link", ["http://example.org", "javascript:alert(1)", "https://a b", ""])
def test_a_link_of_a_dispute_is_an_address(link: str) -> None:
    with pytest.raises(ValueError, match="link"):
        Dispute(place="ratio-v1", reason="it is wrong", link=link)


@pytest.mark.parametrize("text", ["[]", "{", '{"entries": {"a": {}}}', '{"level": "reproduced"}', '{"edition": ""}'])
def test_a_broken_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "trust.json").write_text(text)
    with pytest.raises(VerificationError, match=r"trust\.json: "):
        read_trust(tmp_path / "trust.json")


def test_a_file_that_cannot_be_written_is_refused_before_anything_is_sought(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises((DataError, VerificationError)):
        TrustFile(tmp_path / "file" / "trust.json")


def test_findings_are_on_disk_at_once(path: Path, tmp_path: Path) -> None:
    record = read_record(path)
    known = TrustFile(tmp_path / "trust.json")
    known.note(path, record, LOOKED_AT)
    known.score(record, 0.5)
    assert read_trust(tmp_path / "trust.json") == known.trust
    assert record.result is not None
    model = record.result.model_digest
    assert known.trust.scorings == [Scoring(edition="1", cell_id=record.cell_id, model=model, score=0.5)]


def run_of(skill: float) -> Record:
    return make_record(make_cell(), make_predictions(skill), make_history())


def test_an_equal_result_is_one_that_is_equal_in_every_field() -> None:
    record = run_of(2.0)
    assert record.result is not None
    for same_kind in (True, False):
        made = Reproduction.of(record, record.result, same_kind=same_kind, spread=None)
        assert made.equal
    other = record.result.model_copy(update={"model_digest": "0" * 64})
    with pytest.raises(VerificationError, match="model_digest"):
        Reproduction.of(record, other, same_kind=True, spread=1.0)


def test_elsewhere_the_headline_may_be_as_far_as_the_seeds_are_from_each_other() -> None:
    recorded, now = run_of(2.0), run_of(2.05)
    assert recorded.result is not None and now.result is not None
    distance = abs(recorded.result.metrics.accuracy - now.result.metrics.accuracy)
    assert 0.01 < distance < 0.1
    near = Reproduction.of(recorded, now.result, same_kind=False, spread=np.nextafter(distance, 1).item())
    assert not near.equal and near.headline == now.result.metrics.accuracy
    for spread, text in ((distance / 2, "points apart"), (None, "one seed")):
        with pytest.raises(VerificationError, match=text):
            Reproduction.of(recorded, now.result, same_kind=False, spread=spread)


def test_no_range_of_seeds_makes_a_large_difference_near() -> None:
    """A submitter who adds one bad seed makes the range of the row as wide as wanted."""
    recorded, now = run_of(2.3), run_of(2.0)
    assert recorded.result is not None and now.result is not None
    assert recorded.result.metrics.accuracy - now.result.metrics.accuracy > 0.03
    with pytest.raises(VerificationError, match="more than 2 points"):
        Reproduction.of(recorded, now.result, same_kind=False, spread=1.0)
