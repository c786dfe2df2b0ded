import pytest

from ferbench.leaderboard.statistics import paired
from ferbench.leaderboard.tables import make_board
from ferbench.leaderboard.wording import caption, heading
from ferbench.records.agreement import verify_all
from ferbench.records.cell import Budget
from ferbench.records.frame import frame_of, verified_frame, with_protocols
from ferbench.records.schema import ErrorReport, RecordConfig
from ferbench.records.store import read_record
from ferbench.records.verification import Verification
from tests.unit.records.factory import (
    PROTOCOLS,
    STAMP,
    make_cell,
    make_history,
    make_measured,
    make_predictions,
    make_record,
    write_record,
)

STRONG = {"variant": "strong"}


def verified_cells(root, *cells, **changes):
    """The frame that a board is made of, from records of these cells."""
    found = verify_all([write_record(root, cell, **changes) for cell in cells], PROTOCOLS)
    return with_protocols(verified_frame(found), found, PROTOCOLS)


def board_of(records, *arguments, **options):
    return make_board(frame_of(records), *arguments, **options)


def record(method="fixmatch", seed=0, skill=2.0, changes=None, **cell):
    made = make_cell(method, seed, **cell)
    return make_record(made, make_predictions(skill, seed), make_history(), **(changes or {}))


def sweep(method, skill, seeds=range(3), **cell):
    return [record(method, seed, skill, **cell) for seed in seeds]


def supervised(**cell):
    return [*sweep("supervised", 1.5, **cell), *sweep("supervised", 1.7, **cell, **STRONG)]


def only_table(records, **arguments):
    (table,) = board_of(records, **arguments).tables
    return table


def test_the_best_row_is_first_and_gain_is_over_the_better_supervised_row():
    records = [*supervised(), *sweep("fixmatch", 2.5)]
    table = only_table(records)
    assert [row.name for row in table.rows] == ["fixmatch", "supervised@strong", "supervised@weak"]
    assert table.baseline == "supervised@strong"
    fixmatch, strong, weak = table.rows
    differences = [fixmatch.by_seed[seed] - strong.by_seed[seed] for seed in range(3)]
    assert fixmatch.gain == paired(differences)
    assert strong.gain is None
    assert weak.gain.mean < 0
    assert "Gains are over supervised (strong views), the better supervised row." in table.notes


def test_a_protocol_may_order_and_measure_gains_by_macro_f1():
    def scored(method, seed, accuracy, macro_f1, **cell):
        made = record(method, seed, protocol="abaw-expr-v1", changes={"headline": "macro_f1"}, **cell)
        metrics = made.result.metrics.model_copy(update={"accuracy": accuracy, "macro_f1": macro_f1})
        oracle = made.result.oracle.model_copy(update={"macro_f1": macro_f1 + 0.02})
        return made.model_copy(update={"result": made.result.model_copy(update={"metrics": metrics, "oracle": oracle})})

    table = only_table(
        [scored("supervised", seed, 0.8, 0.30) for seed in range(3)]
        + [scored("supervised", seed, 0.7, 0.35, **STRONG) for seed in range(3)]
        + [scored("dtm", seed, 0.6, 0.41) for seed in range(3)]
    )
    assert [row.name for row in table.rows] == ["dtm", "supervised@strong", "supervised@weak"]
    assert table.rows[0].gain.mean == pytest.approx(0.06)
    assert table.rows[0].optimism.mean == pytest.approx(0.02)
    assert "ordered by macro-F1" in caption(table)


@pytest.mark.parametrize(
    ("change", "tables"),
    [
        ({"backbone": "timm/resnet18"}, 2),
        ({"init": "sha256:" + "ab" * 32}, 2),
        ({"pool": "vggface2"}, 2),
        ({"dataset": "raf-db"}, 2),
        ({"classes": "8"}, 2),
        ({"budget": Budget(ratio="0.1")}, 2),
        ({"protocol": "count-v1"}, 2),
        ({"precision": "bf16"}, 2),
        ({"test_on": "jaffe"}, 2),
        ({"head": "leaf"}, 1),
        ({"variant": "released"}, 1),
    ],
    ids=str,
)
def test_what_shares_a_table(change, tables):
    assert len(board_of([record(), record("ada-cm", **change)]).tables) == tables


def test_other_data_or_another_test_set_never_share_a_table():
    mine, theirs = record(), record("ada-cm")
    for part in ("data", "test"):
        prints = theirs.result.fingerprints.model_copy(update={part: "other"})
        other = theirs.model_copy(update={"result": theirs.result.model_copy(update={"fingerprints": prints})})
        assert len(board_of([mine, other]).tables) == 2


def test_an_incomplete_row_has_no_mean():
    table = only_table([*supervised(), *sweep("fixmatch", 2.5, seeds=range(2))])
    row = table.rows[-1]
    assert (row.name, row.complete, row.metrics, row.gain) == ("fixmatch", False, {}, None)
    (note,) = [note for note in table.notes if "incomplete" in note]
    assert "2 of 3 seeds (seed 0: " in note


def test_missing_mandatory_rows_are_stated():
    table = only_table(sweep("fixmatch", 2.0))
    assert "Missing mandatory rows: supervised (weak views) and supervised (strong views)" in table.notes[0]
    assert "Missing mandatory row: full supervision (budget ratio-1)." in table.notes
    table = only_table([*sweep("fixmatch", 2.0), *sweep("supervised", 1.5)])
    assert table.notes[0] == (
        "Missing mandatory row: supervised (strong views); gains are over supervised (weak views) only."
    )


def test_full_supervision_is_quoted_where_there_is_some():
    board = board_of([*supervised(), *sweep("supervised", 3.0, budget=Budget(ratio="1"), **STRONG)])
    small, full = board.tables
    assert any(note.startswith("Full supervision: ") and "3 seeds" in note for note in small.notes)
    assert not any("ull supervision" in note for note in full.notes)


@pytest.mark.parametrize(("protocol", "asked"), [("ratio-v1", True), ("count-v1", False), ("papers-v1", False)])
def test_full_supervision_is_missing_only_if_the_protocol_has_a_budget_of_all_labels(tmp_path, protocol, asked):
    cell = make_cell(protocol=protocol, budget=Budget(ratio="0.05") if asked else Budget(count=100))
    path = write_record(tmp_path, cell)
    found = [Verification(path, read_record(path), ())]  # the record of the factory does not fit the labels of count-v1
    (table,) = make_board(with_protocols(verified_frame(found), found, PROTOCOLS)).tables
    assert any("full supervision" in note for note in table.notes) == asked
    assert ("full supervision" in table.missing) == asked


def test_a_pool_table_gains_over_supervised_rows_without_the_pool():
    board = board_of([*supervised(), *sweep("fixmatch", 2.5, pool="vggface2")])
    table = next(table for table in board.tables if table.key.pool)
    assert [row.name for row in table.rows] == ["fixmatch"]
    assert table.rows[0].gain.pairs == 3
    assert "from the table without a pool" in table.notes[0]


def test_gain_pairs_only_seeds_with_the_same_labeled_images():
    records = supervised()
    odd = record("fixmatch", 0, 2.5)
    prints = odd.result.fingerprints.model_copy(update={"labeled": "other"})
    odd = odd.model_copy(update={"result": odd.result.model_copy(update={"fingerprints": prints})})
    table = only_table([*records, odd, *sweep("fixmatch", 2.5, seeds=(1, 2))])
    assert table.rows[0].gain.pairs == 2
    assert any("labeled images of seed 0 differ" in note for note in table.notes)


def fold(seed, *, without=None):
    made = record("fixmatch", seed, protocol="subject-folds-v1")
    prints = made.result.fingerprints.model_copy(update={"test": f"test of {seed}", "folds": "all folds"})
    changes = {"fingerprints": prints}
    if without:
        recalls = {**made.result.metrics.per_class_recall, without: None}
        changes["metrics"] = made.result.metrics.model_copy(update={"per_class_recall": recalls})
    config = made.config.model_copy(update={"protocol": {**made.config.protocol, "folds": 10}})
    return made.model_copy(update={"config": config, "result": made.result.model_copy(update=changes)})


def test_folds_are_one_table_and_their_test_images_are_added_up():
    records = [fold(seed, without="fear" if seed < 8 else None) for seed in range(10)]
    table = only_table(records)
    assert sum(table.class_counts) == 10 * 210
    assert "2100 test images in 10 folds of subjects" in caption(table)
    (row,) = table.rows
    assert row.complete
    recalls = [item.result.metrics.per_class_recall["fear"] for item in records[8:]]
    assert row.recalls["fear"].mean == pytest.approx(sum(recalls) / 2)
    assert any("every subject is tested once" in note for note in table.notes)


def test_a_row_of_some_folds_is_incomplete():
    (row,) = only_table([fold(seed) for seed in range(5)]).rows
    assert (row.complete, row.most_seeds, row.metrics) == (False, 10, {})


def test_tests_on_other_sets_have_tables_of_their_own_behind_the_others():
    crossed = [record("supervised", seed, 1.5, test_on="jaffe") for seed in range(3)]
    crossed += sweep("fixmatch", 2.5, test_on="jaffe")
    other = record("fixmatch", test_on="kdef", dataset="affectnet", classes="8")
    own, apart, alone = (*board_of([*crossed, *supervised(dataset="zoo")]).tables, only_table([other]))
    assert (own.key.dataset, own.key.test_on, apart.key.dataset, apart.key.test_on) == (
        "zoo", None, "synthfaces", "jaffe",
    )  # fmt: skip
    assert heading(apart.key) == (
        "trained on synthfaces, 7 classes, tested on jaffe (7 shared classes), 5 % of the labels, ratio-v1, "
        "small-resnet"
    )
    assert heading(alone.key).startswith("trained on affectnet, 8 classes, tested on kdef (7 shared classes)")
    fixmatch, baseline = apart.rows
    assert (fixmatch.optimism, fixmatch.minutes, baseline.optimism) == (None, None, None)
    assert fixmatch.gain.pairs == 3
    assert apart.baseline == "supervised@weak"
    assert any("test images are those of jaffe" in note for note in apart.notes)
    assert not any("Minutes" in note or "left out because" in note for note in apart.notes)
    assert any("Minutes" in note for note in own.notes)
    left_out = other.model_copy(update={"result": other.result.model_copy(update={"n_test_left_out": 4})})
    assert any(note.endswith("look like training images: 4.") for note in only_table([left_out]).notes)


def test_records_with_overrides_stay_apart():
    tuned = sweep("fixmatch", 9.0, overrides={"method": {"threshold": 0.5}})
    short = sweep("fixmatch", 9.0, overrides={"protocol": {"steps": 60}})
    records = [*supervised(), *sweep("fixmatch", 2.0), *tuned, *short]
    assert len(board_of(records).tables) == 1
    standard, *others = board_of(records, include_nonstandard=True).tables
    assert standard == only_table(records)
    assert [(table.key.standard, table.key.protocol_overrides) for table in others] == [
        (False, ""),
        (False, "steps=60"),
    ]
    assert others[0].rows[0].name == "fixmatch [threshold=0.5]"


def test_a_draft_is_in_no_standard_table_and_is_called_one():
    of_draft = {"standard": False, "config": RecordConfig(protocol={"draft": True}, method={})}
    draft = sweep("fixmatch", 9.0, protocol="ratio-v2", changes=of_draft)
    short = sweep("fixmatch", 9.0, protocol="ratio-v2", overrides={"protocol": {"steps": 60}}, changes=of_draft)
    assert board_of([*supervised(), *draft, *short]).tables == board_of(supervised()).tables
    titles = [heading(table.key) for table in board_of([*draft, *short], include_nonstandard=True).tables]
    assert titles == [
        "Not standard (the protocol is a draft): synthfaces, 7 classes, 5 % of the labels, ratio-v2, small-resnet",
        "Not standard (the protocol is a draft, overrides steps=60): synthfaces, 7 classes, 5 % of the labels, "
        "ratio-v2, small-resnet",
    ]
    assert frame_of(draft)["draft"].tolist() == [True] * len(draft)
    assert not frame_of(supervised())["draft"].any()


def test_records_of_a_protocol_that_is_not_installed_are_left_out_for_that_reason(tmp_path):
    cells = verified_cells(tmp_path, make_cell(), make_cell(protocol="lab-v1"), make_cell("leaf", protocol="lab-v1"))
    (left_out,) = make_board(cells).left_out
    assert left_out.records == 2 and "'lab-v1' is not installed" in left_out.reason
    (_, table) = make_board(cells, include_nonstandard=True).tables
    assert heading(table.key).startswith("Not standard: synthfaces")
    (note,) = [note for note in table.notes if "'lab-v1' is not installed" in note]
    assert "fixmatch" in note and "leaf" in note


def test_a_record_of_the_calling_process_is_left_out_for_that_reason(tmp_path):
    cell = make_cell()
    measured = make_measured(cell, executor="inline")
    board = make_board(verified_cells(tmp_path, cell, standard=False, measured=measured))
    assert ["--executor inline" in each.reason for each in board.left_out] == [True]


def test_failures_are_apart_and_never_scored():
    error = ErrorReport(type="OutOfMemoryError", message="no memory left")
    broken = record("dtm", changes={"status": "failed", "result": None, "error": error})
    board = board_of([record(), broken])
    assert [row.name for row in board.tables[0].rows] == ["fixmatch"]
    assert [(item.status, item.reason) for item in board.failures] == [("failed", "OutOfMemoryError: no memory left")]


def test_with_initial_weights_the_linear_probe_is_mandatory_too():
    start = {"init": f"sha256:{'1' * 64}"}
    rows = [*supervised(**start), *sweep("fixmatch", 2.5, **start)]
    without, beside = only_table(rows).notes, only_table([*rows, *sweep("linear-probe", 1.0, **start)]).notes
    assert any("Missing mandatory row: linear-probe" in note for note in without)
    assert not any("mandatory" in note and "linear-probe" in note for note in beside)


def test_mixed_code_and_configurations_are_noted():
    other = {
        "plugin": STAMP.model_copy(update={"source_hash": "0" * 64}),
        "config": RecordConfig(protocol={"steps": 60}, method={"threshold": 0.5}),
    }
    table = only_table([record(seed=0), record(seed=1, changes=other)])
    assert any("different versions of the method's code" in note for note in table.notes)
    assert any("different configurations" in note for note in table.notes)
    (made,) = (note for note in table.notes if "engine" in note)
    assert made.count("00000000") == 1 and made.count(STAMP.source_hash[:8]) >= 1


def test_a_class_without_test_images_has_no_recall():
    made = record()
    recalls = {**made.result.metrics.per_class_recall, "fear": None}
    metrics = made.result.metrics.model_copy(update={"per_class_recall": recalls})
    made = made.model_copy(update={"result": made.result.model_copy(update={"metrics": metrics})})
    assert only_table([made]).rows[0].recalls["fear"] is None


def test_no_records_make_an_empty_board():
    board = board_of([])
    assert (board.tables, board.failures, board.records) == ((), (), 0)


def test_a_table_says_how_many_trials_are_declared():
    tuned = {"distribution": "ferbench", "trials": 5, "source": "docs/tuning.md", "options": {}}
    declared = sweep("fixmatch", 2.5, changes={"tunings": {"method": tuned}})
    (note,) = [note for note in only_table([*supervised(), *declared]).notes if "rials" in note]
    assert note.endswith(": fixmatch 5.")
    assert not [note for note in only_table([*supervised(), *sweep("fixmatch", 2.5)]).notes if "rials" in note]
