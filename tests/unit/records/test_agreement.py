"""Rules between records, on made-up ones."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ferbench.discovery.loader import builtin_protocols
from ferbench.records.agreement import Board, baseline_digests, training_input, verify_all
from ferbench.records.predictions import Predictions
from ferbench.records.publication import without_labels
from ferbench.records.sketch import EQUAL, likeness, sketch_of
from ferbench.records.store import read_record
from tests.unit.records.factory import make_cell, make_predictions, write_failure, write_record

PROTOCOLS = builtin_protocols()


def checks(root: Path, state: str = "failed", **more: Any) -> dict[str, set[str]]:
    """The names of checks of one state, by method and seed."""
    found = verify_all([root], PROTOCOLS, **more)
    names = {each.path: {check.name for check in each.checks if check.state == state} for each in found}
    return {f"{path.parts[-4]}/{path.parts[-2]}": each for path, each in names.items() if each}


def edit(path: Path, **changes: Any) -> None:
    fields = json.loads(path.read_text())
    fields["result"].update(changes)
    path.write_text(json.dumps(fields))


def test_records_that_agree_have_nothing_but_missing_seeds(tmp_path: Path) -> None:
    for seed in range(3):
        write_record(tmp_path, make_cell(seed=seed))
        write_record(tmp_path, make_cell("supervised", seed))
    write_failure(tmp_path, make_cell("dtm"))
    assert checks(tmp_path) == {}
    assert set().union(*checks(tmp_path, "noted").values()) == {"seeds"}
    for seed in (3, 4):
        write_record(tmp_path, make_cell(seed=seed))
        write_record(tmp_path, make_cell("supervised", seed))
    assert checks(tmp_path, "noted") == {}


def test_a_record_that_several_paths_name_is_checked_once(tmp_path: Path) -> None:
    path = write_record(tmp_path, make_cell())
    (tmp_path / "link").symlink_to(path.parent)
    found = verify_all([tmp_path, path, path.parent, tmp_path / "link", path.parent / ".." / "seed0"], PROTOCOLS)
    assert [(each.path, each.holds) for each in found] == [(path, True)]


def test_a_record_that_links_to_itself_is_broken_and_the_others_are_checked(tmp_path: Path) -> None:
    path = write_record(tmp_path, make_cell())
    (tmp_path / "loop").mkdir()
    (tmp_path / "loop" / "record.json").symlink_to("record.json")
    holds = {each.path: each.holds for each in verify_all([tmp_path], PROTOCOLS)}
    assert holds[path] and not holds.get(tmp_path / "loop" / "record.json", False)


@pytest.mark.parametrize("field", ["engine_version", "selection"])
def test_a_row_is_of_one_engine_and_one_selection(tmp_path: Path, field: str) -> None:
    write_record(tmp_path, make_cell(seed=0))
    changed = {"engine_version": 7} if field == "engine_version" else {"selection": "the best", "standard": False}
    write_record(tmp_path, make_cell(seed=1), **changed)
    write_record(tmp_path, make_cell("supervised", 0), engine_version=7)
    assert checks(tmp_path) == {"fixmatch/seed0": {"row"}, "fixmatch/seed1": {"row"}}


def test_equal_logits_are_found_in_any_order_and_scale(tmp_path: Path) -> None:
    first = make_predictions()
    order = np.random.default_rng(1).permutation(len(first.ids))
    scaled = (0.7 * first.logits[order] + 1).astype(np.float16)
    same = Predictions([first.ids[row] for row in order], first.labels[order], scaled)
    write_record(tmp_path, make_cell(), predictions=first)
    write_record(tmp_path, make_cell("evil-net"), predictions=same)
    write_record(tmp_path, make_cell("dtm"), predictions=make_predictions(seed=1))
    assert checks(tmp_path) == {"fixmatch/seed0": {"copy"}, "evil-net/seed0": {"copy"}}


def test_logits_with_a_little_noise_are_noted(tmp_path: Path) -> None:
    first = make_predictions()
    noise = np.random.default_rng(1).normal(scale=0.005, size=first.logits.shape)
    write_record(tmp_path, make_cell(), predictions=first)
    near = Predictions(first.ids, first.labels, (first.logits + noise).astype(np.float16))
    write_record(tmp_path, make_cell("evil-net"), predictions=near)
    assert checks(tmp_path) == {}
    assert "copy" in checks(tmp_path, "noted")["evil-net/seed0"]


@pytest.mark.parametrize("name", ["model_digest", "history_digest"])
def test_equal_models_and_histories_are_copies(tmp_path: Path, name: str) -> None:
    paths = [write_record(tmp_path, make_cell(method)) for method in ("fixmatch", "dtm")]
    taken = json.loads(paths[0].read_text())["result"][name]
    edit(paths[1], **{name: taken})
    if name == "history_digest":
        history = (paths[0].parent / "history.json").read_bytes()
        (paths[1].parent / "history.json").write_bytes(history)
    assert "copy" in checks(tmp_path)["fixmatch/seed0"] & checks(tmp_path)["dtm/seed0"]


def test_cells_that_differ_in_what_the_method_does_not_use_are_equal_by_right(tmp_path: Path) -> None:
    first = make_predictions()
    for protocol in ("ratio-v1", "external-v1"):
        path = write_record(tmp_path, make_cell("supervised", protocol=protocol), predictions=first)
        edit(path, n_unlabeled=None, model_digest="ab" * 32)
    assert checks(tmp_path) == {}
    edit(path, n_unlabeled=1330)  # now it draws unlabeled images, and says the same
    fields = read_record(path).result
    assert fields is not None
    edit(path, fingerprints={**fields.fingerprints.by_name(), "unlabeled": "cd" * 32})
    assert "copy" in checks(tmp_path)["supervised@weak/seed0"]


def test_what_is_not_standard_may_be_alike(tmp_path: Path) -> None:
    first = make_predictions()
    write_record(tmp_path, make_cell(), predictions=first)
    write_record(tmp_path, make_cell(overrides={"method": {"note": 1}}), predictions=first)
    assert checks(tmp_path) == {}
    assert all("copy" in names for names in checks(tmp_path, "noted").values())


def test_an_option_that_is_the_default_changes_no_training(tmp_path: Path) -> None:
    one, other = (
        read_record(write_record(tmp_path, make_cell(overrides=overrides)))
        for overrides in ({}, {"method": {"threshold": 0.95}})
    )
    assert training_input(one) == training_input(other)


def test_rows_of_one_split_have_equal_images(tmp_path: Path) -> None:
    path = write_record(tmp_path, make_cell())
    write_record(tmp_path, make_cell("supervised"))
    result = read_record(path).result
    assert result is not None
    edit(path, fingerprints={**result.fingerprints.by_name(), "labeled": "ab" * 32})
    assert checks(tmp_path) == {"fixmatch/seed0": {"equal splits"}, "supervised@weak/seed0": {"equal splits"}}


def test_two_records_of_one_cell_both_fail(tmp_path: Path) -> None:
    path = write_record(tmp_path, make_cell())
    twin = tmp_path / "copy" / "record.json"
    twin.parent.mkdir()
    for name in ("record.json", "history.json", "predictions.parquet"):
        (twin.parent / name).write_bytes((path.parent / name).read_bytes())
    found = verify_all([tmp_path], PROTOCOLS)
    assert all("twin" in {check.name for check in each.failures} for each in found)


def test_baselines_stay_as_they_were(tmp_path: Path) -> None:
    paths = [write_record(tmp_path, make_cell("supervised", seed)) for seed in range(2)]
    write_record(tmp_path, make_cell())
    pinned = baseline_digests(verify_all([tmp_path], PROTOCOLS))
    assert sorted(pinned) == [str(make_cell("supervised", seed).folder()) for seed in range(2)]
    board = Board(pinned, published=True)
    assert checks(tmp_path, board=board) == {}
    write_record(tmp_path, make_cell("supervised", 2))  # more may come
    assert checks(tmp_path, board=board) == {}
    edit(paths[0], image_passes=288_001)
    assert checks(tmp_path, board=board) == {"supervised@weak/seed0": {"baseline"}}
    paths[1].unlink()
    assert checks(tmp_path, board=board)["supervised@weak/seed1"] == {"baseline"}


def test_a_baseline_is_not_removed_by_a_record_without_a_result(tmp_path: Path) -> None:
    for seed in range(2):
        write_record(tmp_path, make_cell("supervised", seed))
    board = Board(baseline_digests(verify_all([tmp_path], PROTOCOLS)), published=True)
    write_failure(tmp_path, make_cell("supervised", 1))
    write_failure(tmp_path, make_cell("dtm"))
    assert checks(tmp_path, board=board) == {"supervised@weak/seed1": {"baseline"}}


def test_logits_beside_predictions_do_not_hide_a_copy(tmp_path: Path) -> None:
    """Copies are sought among predictions; a file of salted logits beside them must not end the search."""
    first = make_predictions()
    write_record(tmp_path, make_cell(), predictions=first)
    scaled = Predictions(first.ids, first.labels, (0.7 * first.logits + 1).astype(np.float16))
    copy = write_record(tmp_path, make_cell("evil-net"), predictions=scaled)
    (copy.parent / "logits.parquet").write_bytes(without_labels(first, "salt").to_parquet())
    assert checks(tmp_path) == {"fixmatch/seed0": {"copy"}, "evil-net/seed0": {"copy"}}


def test_of_a_copy_and_a_pinned_baseline_the_copy_fails(tmp_path: Path) -> None:
    first = make_predictions()
    write_record(tmp_path, make_cell("supervised"), predictions=first)
    board = Board(baseline_digests(verify_all([tmp_path], PROTOCOLS)), published=True)
    write_record(tmp_path, make_cell("evil-net"), predictions=first)
    assert checks(tmp_path, board=board) == {"evil-net/seed0": {"copy"}}


def test_a_sketch_tells_independent_models_apart() -> None:
    """Against numpy: the cosine of centred logits is what `corrcoef` gives for one image and two models."""
    ids = ["a"]
    one, other = (np.array([row], np.float16) for row in ([1.0, 2.0, 4.0], [0.5, -1.0, 3.0]))
    sketches = [sketch_of(ids, logits) for logits in (one, other)]
    found = likeness([each for each in sketches if each is not None])
    assert found[0, 1] == pytest.approx(np.corrcoef(one.astype(float), other.astype(float))[0, 1], abs=1e-6)
    assert found[0, 0] > EQUAL
    assert sketch_of(ids, np.ones((1, 3), np.float16)) is None
