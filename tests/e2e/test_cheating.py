"""Ways of cheating on a board, tried on the committed records: which are caught, and what the others come to."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ferbench.cells.known import known, known_protocols
from ferbench.discovery.loader import load_registry
from ferbench.discovery.registry import Registry
from ferbench.leaderboard.baselines import board_of
from ferbench.records.agreement import verify_all
from ferbench.records.frame import verified_frame
from ferbench.records.history import HISTORY
from ferbench.records.known import read_baselines
from ferbench.records.predictions import Predictions
from ferbench.records.store import PREDICTIONS
from ferbench.records.verification import Verification
from tests.support.command import call
from tests.support.forgery import Fields, change, corrected, move, score, tell

BOARD = Path(__file__).parents[2] / "leaderboard"
TABLE = Path("ratio-v1/synthfaces/ratio-0.05")
FIXMATCH = TABLE / "fixmatch/small-resnet_16"
WEAK = TABLE / "supervised@weak/small-resnet_16"
ALL_LABELS = Path("ratio-v1/synthfaces/ratio-1/supervised@weak/small-resnet_16")
SEEDS = range(5)

ROWS = (FIXMATCH, WEAK, ALL_LABELS)


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The board with rows of two tables, and nothing packed: what CI has."""
    monkeypatch.setenv("FERBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "leaderboard"
    for row in ROWS:
        shutil.copytree(BOARD / "records" / row, folder / "records" / row)
    shutil.copytree(BOARD / "pinned", folder / "pinned")
    baselines = {path: digest for path, digest in read_baselines(BOARD).items() if Path(path).parent in ROWS}
    (folder / "baselines.json").write_text(json.dumps(baselines))
    return folder


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry()


def record(board: Path, row: Path = FIXMATCH, seed: int = 0) -> Path:
    return board / "records" / row / f"seed{seed}" / "record.json"


def verified(board: Path, registry: Registry) -> list[Verification]:
    """What `verify`, `build` and `check` find before they print it."""
    records = [board / "records"]
    return verify_all(records, known_protocols(registry), None, known(registry, board), board_of(records, board))


def codes() -> list[int]:
    """What verify, build and check end with."""
    commands = (("verify", "leaderboard/records"), ("leaderboard", "build"), ("leaderboard", "check"))
    return [call(*words).code for words in commands]


def set_(*keys: str, to: Any) -> Callable[[Fields], None]:
    def edit(fields: Fields) -> None:
        target = fields
        for key in keys[:-1]:
            target = target[key]
        target[keys[-1]] = to

    return edit


def better_metrics(board: Path) -> None:
    """02: metrics, confusion and oracle, and not the predictions."""
    path = record(board)
    kept = (path.parent / PREDICTIONS).read_bytes()
    score(path, lambda old: corrected(old, 0.8))
    (path.parent / PREDICTIONS).write_bytes(kept)


def better_predictions(board: Path) -> None:
    """03: the predictions alone."""
    path, told = record(board), record(board).read_text()
    score(path, corrected)
    path.write_text(told)


def better_everything_but_history(board: Path) -> None:
    """04: logits, and all that follows from them."""
    score(record(board), lambda old: corrected(old, 0.8))


def one_seed_five_times(board: Path) -> None:
    """06: seed 0 as all seeds."""
    for seed in SEEDS[1:]:
        shutil.rmtree(record(board, seed=seed).parent)
        move(record(board), set_("cell", "seed", to=seed), keep=True)


def one_seed_five_times_with_the_splits_of_each(board: Path) -> None:
    """06 with the fingerprints of each seed."""
    splits = {seed: json.loads(record(board, seed=seed).read_text())["result"] for seed in SEEDS}
    one_seed_five_times(board)
    for seed in SEEDS:
        own = {name: splits[seed][name] for name in ("fingerprints", "labeled_counts")}
        change(record(board, seed=seed), lambda fields, own=own: fields["result"].update(own))


def another_name(board: Path) -> None:
    """07: a method of one's own with the results of another."""
    for seed in SEEDS:
        move(record(board, seed=seed), set_("cell", "method", to="evil-net"), keep=True)


def another_name_and_noise(board: Path) -> None:
    """07 with models and histories that are not equal, and logits in another scale."""

    def renamed(fields: Fields) -> None:
        fields["cell"]["method"] = "evil-net"
        fields["result"]["model_digest"] = "ab" * 32

    for seed in SEEDS:
        path = move(record(board, seed=seed), renamed, keep=True)
        score(path, lambda old: Predictions(old.ids, old.labels, (1.5 * old.logits).astype(np.float16)))
        tell(path, lambda rows: [{**row, "loss": row["loss"] + 0.01} for row in rows])


def _sold_as_five_percent(fields: Fields) -> None:
    fields["cell"]["budget"]["ratio"] = "0.05"
    fields["cell"]["method"], fields["cell"]["variant"] = "evil-net", "described"


def all_labels_as_five_percent(board: Path) -> None:
    """08: the result of all labels in the table of 5 %."""
    for seed in SEEDS:
        move(record(board, ALL_LABELS, seed), _sold_as_five_percent, keep=True)


def all_labels_with_the_splits_of_five_percent(board: Path) -> None:
    """09: as 08, with the fingerprints and counts of honest records."""
    for seed in SEEDS:
        honest = json.loads(record(board, WEAK, seed).read_text())["result"]
        path = move(record(board, ALL_LABELS, seed), _sold_as_five_percent, keep=True)
        own = {name: honest[name] for name in ("fingerprints", "labeled_counts", "n_labeled")}
        change(path, lambda fields, own=own: fields["result"].update(own))


def ten_times_the_steps(board: Path) -> None:
    """10: a recipe of one's own, in config and result."""

    def longer(fields: Fields) -> None:
        fields["config"]["protocol"] |= {"steps": 18_000, "labeled_batch": 512, "learning_rate": 1.0}
        fields["result"]["steps"] = 18_000

    change(record(board), longer)
    tell(record(board), lambda rows: [{**row, "step": 10 * row["step"]} for row in rows])


def sixty_steps_without_overrides(board: Path) -> None:
    """11: a short run that says nothing of it."""
    change(record(board), lambda fields: fields["result"].update(steps=60, image_passes=9600))
    tell(record(board), lambda rows: [{**row, "step": 3 * row["epoch"]} for row in rows])


def an_accuracy_alone(board: Path) -> None:
    """01."""
    change(record(board), set_("result", "metrics", "accuracy", to=0.99))


def one_cell_twice(board: Path) -> None:
    """16."""
    shutil.copytree(record(board).parent, board / "records" / "copy")


def worse_baselines(board: Path) -> None:
    """18: every number of the supervised rows, worse in unison."""
    for seed in SEEDS:
        path = record(board, WEAK, seed)
        score(path, lambda old: Predictions(old.ids, old.labels, np.ascontiguousarray(old.logits[:, ::-1])))
        tell(path, lambda rows: [{**row, "evaluation": rows[-1]["evaluation"]} if "evaluation" in row else row
                                 for row in rows])  # fmt: skip


def labels_after_predictions(board: Path) -> None:
    """19: the labels are what was predicted, the test fingerprint fits."""
    path = record(board)
    score(path, lambda old: Predictions(old.ids, old.logits.argmax(axis=1), old.logits), test=True)
    tell(path)


def right_images_alone(board: Path) -> None:
    """20: only what was predicted right, with a test fingerprint that fits."""

    def right(old: Predictions) -> Predictions:
        kept = np.flatnonzero(old.logits.argmax(axis=1) == old.labels)
        return Predictions([old.ids[row] for row in kept], old.labels[kept], old.logits[kept])

    score(record(board), right, test=True)
    tell(record(board))


def classes_in_another_order(board: Path) -> None:
    """23: a table of one's own by the order of classes."""

    def turned(old: Predictions) -> Predictions:
        return Predictions(old.ids, (old.labels + 6) % 7, np.roll(old.logits, -1, axis=1))

    change(record(board), lambda fields: fields["result"]["class_names"].append(fields["result"]["class_names"].pop(0)))
    score(record(board), turned, test=True)
    tell(record(board))


def no_history(board: Path) -> None:
    """35: an empty history, with a digest that fits."""
    tell(record(board), lambda rows: [])


def more_labels_than_the_budget(board: Path) -> None:
    """39: 8000 labels in a cell of 5 %."""

    def more(fields: Fields) -> None:
        fields["result"]["n_labeled"] = 8000
        fields["result"]["labeled_counts"]["happiness"] += 7600

    change(record(board), more)


def dates_and_counts_that_are_none(board: Path) -> None:
    """34."""

    def odd(fields: Fields) -> None:
        fields["measured"]["started_at"] = "once upon a time"
        fields["result"] |= {"image_passes": 1, "parameters": 1, "n_unlabeled": 0}

    change(record(board), odd)


def two_engines_in_a_row(board: Path) -> None:
    change(record(board, seed=3), set_("engine_version", to=2))


def two_selections_in_a_row(board: Path) -> None:
    change(record(board, seed=3), set_("selection", to="best of 20 models on the test set"))


def a_larger_net_for_one_seed(board: Path) -> None:
    change(record(board, seed=3), set_("result", "parameters", to=11_000_000))


def a_baseline_less(board: Path) -> None:
    shutil.rmtree(record(board, WEAK, 4).parent)


def no_baselines(board: Path) -> None:
    shutil.rmtree(board / "records" / WEAK)


def no_unlabeled_images_left(board: Path) -> None:
    change(record(board), set_("result", "n_unlabeled", to=7601))


def another_dataset(board: Path) -> None:
    change(record(board), set_("result", "fingerprints", "data", to="ab" * 32))


def a_fingerprint_that_is_gone(board: Path) -> None:
    change(record(board), lambda fields: fields["result"]["fingerprints"].pop("unlabeled"))


def the_recipe_of_another_family(board: Path) -> None:
    from ferbench.builtin.protocols import FER_GPU

    def larger(fields: Fields) -> None:
        fields["config"]["protocol"] |= FER_GPU.model_dump(mode="json", exclude={"backbone"})
        fields["result"] |= {"steps": 20_000, "image_passes": 20_000 * 224}
        fields["measured"] |= {"train_seconds": 4480.0, "wall_seconds": 4500.0, "images_per_second": 1000.0}

    change(record(board), larger)
    tell(record(board), lambda rows: [{**row, "step": 1000 * row["epoch"]} for row in rows])


def a_tuning_that_nobody_made(board: Path) -> None:
    def tuned(fields: Fields) -> None:
        options = {"learning_rate": 0.5}
        owner = {"distribution": "ferbench", "trials": 3, "source": "docs/tuning.md", "options": options}
        fields["tunings"] = {"method": owner}
        fields["config"]["method"] |= {"learning_rate": 0.1}

    change(record(board), tuned)


def the_best_evaluation_as_the_last(board: Path) -> None:
    rows = json.loads((record(board).parent / HISTORY).read_text())
    best = max((row["evaluation"] for row in rows if "evaluation" in row), key=lambda found: found["accuracy"])
    change(
        record(board), lambda fields: fields["result"]["metrics"].update({**best, "accuracy": best["accuracy"] + 0.01})
    )


def a_field_that_nobody_knows(board: Path) -> None:
    change(record(board), set_("config", "protocol", "test_time_augmentation", to=True))


def half_a_character(board: Path) -> None:
    change(record(board), set_("measured", "host", to="\ud800"))


def a_record_that_links_to_itself(board: Path) -> None:
    record(board).unlink()
    record(board).symlink_to("record.json")


def predictions_out_of_the_tree(board: Path) -> None:
    path = record(board).parent / PREDICTIONS
    path.rename(board.parent / "outside")
    path.symlink_to(board.parent / "outside")


def passes_without_end(board: Path) -> None:
    text = record(board).read_text()
    record(board).write_text(text.replace('"image_passes": 288000', f'"image_passes": 1{"0" * 4000}'))


CAUGHT = (
    an_accuracy_alone, better_metrics, better_predictions, better_everything_but_history, one_seed_five_times,
    one_seed_five_times_with_the_splits_of_each, another_name, another_name_and_noise, all_labels_as_five_percent,
    all_labels_with_the_splits_of_five_percent, ten_times_the_steps, sixty_steps_without_overrides, one_cell_twice,
    worse_baselines, labels_after_predictions, right_images_alone, classes_in_another_order, no_history,
    more_labels_than_the_budget, dates_and_counts_that_are_none, two_engines_in_a_row, two_selections_in_a_row,
    a_larger_net_for_one_seed, a_baseline_less, no_baselines, no_unlabeled_images_left, another_dataset,
    passes_without_end, a_fingerprint_that_is_gone, the_recipe_of_another_family, a_tuning_that_nobody_made,
    the_best_evaluation_as_the_last, a_field_that_nobody_knows, half_a_character, a_record_that_links_to_itself,
    predictions_out_of_the_tree,
)  # fmt: skip


@pytest.mark.parametrize("cheat", CAUGHT, ids=lambda cheat: cheat.__name__)
def test_it_is_caught_without_the_data(board: Path, registry: Registry, cheat: Callable[[Path], None]) -> None:
    cheat(board)
    assert not all(each.holds for each in verified(board, registry))


@pytest.mark.slow
@pytest.mark.parametrize("cheat", [better_metrics, another_name, a_baseline_less], ids=lambda cheat: cheat.__name__)
def test_every_command_ends_in_5(board: Path, cheat: Callable[[Path], None]) -> None:
    assert codes() == [0, 0, 0]
    cheat(board)
    assert codes() == [5, 5, 5]


def test_an_honest_board_holds_and_says_how_far(board: Path, registry: Registry) -> None:
    assert {each.verdict.level for each in verified(board, registry)} == {"consistent"}
    shutil.rmtree(board / "pinned")
    assert {each.verdict.level for each in verified(board, registry)} == {"consistent (data not held)"}


def test_rows_in_another_order_are_no_fault(board: Path, registry: Registry) -> None:
    """27."""
    order = np.random.default_rng(0).permutation(3007)
    score(record(board), lambda old: Predictions([old.ids[i] for i in order], old.labels[order], old.logits[order]))
    assert all(each.holds for each in verified(board, registry))


def test_a_forgery_of_everything_comes_to_consistent_and_no_further(board: Path, registry: Registry) -> None:
    """05 with a history that fits: nothing but the model can tell."""
    path = record(board)
    score(path, corrected)
    tell(path, lambda rows: [{**row, "loss": row["loss"] * 0.9} for row in rows])
    change(path, set_("result", "model_digest", to="ab" * 32))
    assert {each.verdict.level for each in verified(board, registry)} == {"consistent"}


@pytest.mark.parametrize("name", ["evil-v1", "ratio-v9"])
def test_a_protocol_that_nobody_knows_has_no_standard_table(board: Path, registry: Registry, name: str) -> None:
    """32, 33."""

    def renamed(fields: Fields) -> None:
        fields["cell"]["protocol"] = fields["config"]["protocol"]["name"] = name

    for seed in SEEDS:
        move(record(board, seed=seed), renamed)
    found = verified(board, registry)
    assert {each.verdict.level for each in found if f"/{name}/" in str(each.path)} == {"submitted"}
    frame = verified_frame(found)
    assert not frame[frame["protocol"] == name]["standard"].any()
    assert frame[frame["protocol"] == "ratio-v1"]["standard"].all()
