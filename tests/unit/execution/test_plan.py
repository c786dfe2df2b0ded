"""Plans: one cell for one configuration however it is written, and shared work done once."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from ferbench.builtin.methods.fixmatch import FixMatch
from ferbench.builtin.protocols import RATIO_V1
from ferbench.cells.method_facts import facts_of
from ferbench.cells.request import RunRequest, check_compile
from ferbench.cells.resolve import resolve
from ferbench.cells.select import select
from ferbench.contract.dataset import EIGHT_CLASSES
from ferbench.discovery.loader import load_registry
from ferbench.discovery.registry import Registry
from ferbench.errors import UsageError
from ferbench.execution.build import build_backbone
from ferbench.execution.nets import check_backbone
from ferbench.execution.plan import PlannedCell, make_plan
from ferbench.execution.rows import training_rows
from ferbench.execution.run_cell import sources_of
from ferbench.execution.weights import resolve_init
from ferbench.readers.parquet import ParquetDataset
from ferbench.records.files import file_digest
from ferbench.records.reproduction import Sources, run_command
from tests.support.archives import describe
from tests.support.pattern_set import write_pattern_set
from tests.support.refusals import refused

SMALL = {"image_size": 16, "steps": 20}

REGISTRY = load_registry()


@pytest.fixture
def plan(patterns: Path, tmp_path: Path) -> Any:
    def make(*rows: str, check_data: bool = False, pack: bool = True, **options: Any) -> list[PlannedCell]:
        request = RunRequest(
            methods=rows or ["fixmatch"],
            datasets=[str(patterns)],
            ratios=options.pop("ratios", ["0.1"]),
            backbones=["small-resnet/4"],
            overrides={**SMALL, **options.pop("set", {})},
            runs=tmp_path / "runs",
            device="cpu",
            **options,
        )
        return make_plan(request, REGISTRY, check_data=check_data, pack=pack)

    return make


def overrides(planned: list[PlannedCell]) -> dict[str, dict[str, Any]]:
    return {
        kind: {k: v for k, v in fields.items() if k not in SMALL}
        for kind, fields in planned[0].cell.overrides.model_dump().items()
    }


@pytest.mark.parametrize(
    "spellings",
    [
        [{"steps": 1000}, {"steps": 1e3}, {"steps": "1000"}],
        [{"threshold": 0.7}, {"threshold": "0.70"}, {"fixmatch.threshold": 7e-1}, {"fixmatch": {"threshold": 0.7}}],
        [{"unlabeled_weight": 2}, {"unlabeled_weight": 2.0}],
        [{"weak.padding": 3}, {"weak": {"padding": 3}}, {"weak.padding": "3", "weak.flip_probability": 0.5}],
        # the tuned default of the recipe, not that of the paper
        [{}, {"threshold": 0.8}, {"align": False}, {"learning_rate": 4e-3}, {"align": "false", "threshold": "0.8"}],
    ],
)
def test_a_configuration_is_one_cell_however_it_is_written(plan: Any, spellings: list[dict[str, Any]]) -> None:
    assert len({plan(set=spelling)[0].cell.cell_id for spelling in spellings}) == 1


@pytest.mark.parametrize(
    "spellings",
    [
        [{"margin.floor": 0.6}, {"margin": {"floor": "0.60"}}, {"ada-cm": {"margin": {"floor": 0.6}}}],
        [{"ada-cm.released.state_decay": 0.1}, {"released": {"state_decay": 0.1}, "margin.floor": 0.7}],
        # the tuned default of the recipe; a group's other options keep theirs
        [{}, {"margin.floor": 0.7}, {"margin": {"decay": 0.85}}, {"margin.initial": 0.8}],
    ],
)
def test_options_of_a_group_are_one_cell_however_they_are_written(plan: Any, spellings: list[dict[str, Any]]) -> None:
    assert len({plan("ada-cm", set=spelling)[0].cell.cell_id for spelling in spellings}) == 1


def test_an_option_of_a_group_is_kept_by_its_dotted_name(plan: Any) -> None:
    planned = plan("leaf", "ada-cm", set={"leaf.head.top_k": "3", "ada-cm.margin": {"update": "fixed"}})
    found = {item.cell.method: overrides([item])["method"] for item in planned}
    assert found == {"leaf": {"head.top_k": 3}, "ada-cm": {"margin.update": "fixed"}}
    config: Any = resolve(planned[0].cell, REGISTRY, sources_of(planned[0].job)).config
    assert (config.head.top_k, config.head.experts) == (3, 8)


@pytest.mark.parametrize(
    ("methods", "settings", "words"),
    [
        (["ada-cm"], {"margin_floor": 0.7}, ["--set margin_floor", "ferbench 0.1", "--set ada-cm.margin.floor="]),
        (["ada-cm"], {"margin": "fixed"}, ["--set margin:", "ferbench 0.1", "--set ada-cm.margin.update="]),
        (["ada-cm"], {"ada-cm.state_decay": 0.1}, ["--set ada-cm.state_decay", "--set ada-cm.released.state_decay="]),
        (["leaf", "fixmatch"], {"leaf.top_k": 1}, ["--set leaf.top_k", "--set leaf.head.top_k="]),
        (["leaf", "fixmatch"], {"top_k": 1}, ["--set top_k", "--set leaf.head.top_k="]),
        (["leaf"], {"released": True}, ["--set released:", "group", "released.off_by_one"]),
        (["leaf"], {"released.off_by_two": True}, ["--set released.off_by_two", "did you mean 'released.off_by_one'"]),
        (["leaf"], {"leaf.released.off": True}, ["--set leaf.released.off", "released.off_by_one"]),
    ],
)
def test_a_name_that_is_no_option_is_refused_with_its_remedy(
    plan: Any, methods: list[str], settings: dict[str, Any], words: list[str]
) -> None:
    with refused(UsageError, *words):
        plan(*methods, set=settings)


def test_the_head_that_a_method_has_anyway_is_no_other_cell(plan: Any) -> None:
    own, named, other = plan("fixmatch"), plan("fixmatch+linear"), plan("fixmatch", head="linear")
    assert own[0].cell == named[0].cell == other[0].cell
    assert own[0].cell.head is None
    assert own[0].cell.row == "fixmatch"


def test_a_named_head_of_the_methods_kind_keeps_the_methods_options(plan: Any) -> None:
    released, named = plan("leaf@released"), plan("leaf@released+leaf")
    assert released[0].cell == named[0].cell
    assert plan("fixmatch+leaf")[0].cell.head == "leaf"
    assert plan("leaf+linear")[0].cell.row == "leaf+linear"


def test_values_are_kept_as_they_are_used(plan: Any) -> None:
    assert overrides(plan(set={"steps": "1000", "threshold": "0.95", "align": "true"})) == {
        "protocol": {},
        "method": {"threshold": 0.95, "align": True},
    }
    assert plan(set={"steps": 1e3})[0].cell.overrides.protocol["steps"] == 1000


def test_a_default_is_that_of_the_variant(plan: Any) -> None:
    """`view=strong` changes the variant 'weak' and not the variant 'strong'; `view=weak` the other way round."""
    strong, weak = "supervised@strong", "supervised@weak"
    assert "method" not in overrides(plan(strong, set={"view": "strong"}))
    assert overrides(plan(weak, set={"view": "strong"}))["method"] == {"view": "strong"}
    assert overrides(plan(strong, set={"view": "weak"}))["method"] == {"view": "weak"}


def test_the_worker_resolves_what_was_planned(plan: Any, patterns: Path) -> None:
    (item,) = plan(set={"weak.padding": "3", "fixmatch.threshold": "0.7", "learning_rate": "1e-3"})
    resolved = resolve(item.cell, REGISTRY, Sources(str(patterns)))
    assert (resolved.recipe.weak.padding, resolved.recipe.learning_rate, resolved.recipe.steps) == (3, 1e-3, 20)
    assert resolved.config.threshold == 0.7  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "settings", [{"learning_rate": float("inf")}, {"steps": 0}, {"weak": {"pading": 1}}, {"a": {}}]
)
def test_values_that_cannot_be_are_refused(plan: Any, settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        plan(set=settings)


def test_a_wrong_time_of_leases_is_refused_before_anything_starts(plan: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FERBENCH_LEASE_SECONDS", "soon")
    with pytest.raises(UsageError, match="FERBENCH_LEASE_SECONDS=soon"):
        plan()


def test_shared_work_is_done_once(plan: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = {"hash": 0, "split": 0}
    digest = ParquetDataset.source_digest

    def counted_digest(self: ParquetDataset) -> str:
        calls["hash"] += 1
        return digest(self)

    def counted_split(resolved: Any) -> Any:
        calls["split"] += 1
        return select(resolved)

    monkeypatch.setattr(ParquetDataset, "source_digest", counted_digest)
    monkeypatch.setattr("ferbench.execution.plan.select", counted_split)
    grid = {"seeds": [0, 1], "ratios": ["0.1", "0.25"]}
    assert len(plan("fixmatch", "supervised", "supervised@strong", check_data=True, **grid)) == 12
    assert calls == {"hash": 1, "split": 4}
    plan("fixmatch", check_data=True)
    assert calls == {"hash": 2, "split": 5}, "another plan looks again"


def test_without_a_check_nothing_is_packed(plan: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FERBENCH_CACHE", str(tmp_path / "cache"))
    plan()
    assert not (tmp_path / "cache").exists()
    assert not (tmp_path / "runs").exists()


def test_more_labels_than_there_are_images_are_refused_packed_or_not(
    plan: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The set has 60, 40 and 20 images of its classes, of which a part is for tests."""
    monkeypatch.setenv("FERBENCH_CACHE", str(tmp_path / "cache"))
    few, many = {"ratios": (), "per_class": [10]}, {"ratios": (), "per_class": [21]}
    (item,) = plan("supervised", check_data=True, pack=False, **few)
    assert item.cell.budget.per_class == 10
    with refused(UsageError, "too few training images", "sadness", "21 wanted"):
        plan("supervised", check_data=True, pack=False, **many)
    assert not (tmp_path / "cache").exists()
    plan("supervised", check_data=True, **few)
    with refused(UsageError, "too few training images", "sadness", "21 wanted"):
        plan("supervised", check_data=True, pack=False, **many)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"ratios": ["0.07"]}, ("7 % of the labels", "'ratio-v1'", "ratios 0.01, 0.05, 0.1, 0.25, 1")),
        ({"seeds": [7]}, ("seed 7", "'ratio-v1'", "0, 1, 2, 3, 4")),
        ({"ratios": [], "counts": [30]}, ("30 labels (balanced)", "'count-v1'", "100, 400, 1000,")),
    ],
)
def test_what_will_not_be_standard_is_said_with_the_reason(
    plan: Any, options: dict[str, Any], reason: tuple[str, ...]
) -> None:
    assert any(all(part in found for part in reason) for found in plan("supervised", **options)[0].departures)


@pytest.mark.parametrize(("name", "size"), [("timm/vit_tiny_patch16_224", 8), ("timm/convnext_atto", 8)])
def test_an_impossible_image_size_is_found_in_planning(name: str, size: int) -> None:
    with pytest.raises(UsageError, match=rf"backbone '{name}' does not take images of {size} px") as caught:
        check_backbone(REGISTRY, name, size)
    assert "\n" not in str(caught.value)


def test_a_net_that_looks_at_values_is_checked_on_real_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(registry: Registry, name: str, size: int, init: None) -> Any:
        return lambda images: float(images.sum())

    monkeypatch.setattr("ferbench.execution.nets.build_backbone", build)
    check_backbone(REGISTRY, "any", 16)


def test_hub_weights_are_kept_whole(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FERBENCH_CACHE", str(tmp_path))
    monkeypatch.setattr("ferbench.execution.build.build_backbone", lambda *_: torch.nn.Linear(2, 2))
    name, path = resolve_init(REGISTRY, "hub", "timm/x", 48)
    assert resolve_init(REGISTRY, "hub", "timm/x", 48) == (name, path)
    assert path is not None
    assert resolve_init(REGISTRY, path, "timm/x", 48) == (name, path)
    assert [str(found) for found in (tmp_path / "weights").iterdir()] == [path]
    content = bytearray(Path(path).read_bytes())
    content[-1] ^= 1
    Path(path).write_bytes(content)
    again, fetched = resolve_init(REGISTRY, "hub", "timm/x", 48)
    assert fetched is not None and again == f"sha256:{file_digest(Path(fetched))}"
    assert bytes(content) not in [found.read_bytes() for found in (tmp_path / "weights").iterdir()]


@pytest.fixture
def pool(tmp_path: Path) -> str:
    return str(write_pattern_set(tmp_path / "others", name="others", seed=5))


def test_a_protocol_of_pools_wants_one(plan: Any, pool: str) -> None:
    with pytest.raises(UsageError, match=r"protocol 'external-v1'.*--unlabeled"):
        plan("fixmatch", protocol="external-v1")
    assert plan("supervised", protocol="external-v1")[0].cell.pool is None
    (item,) = plan("fixmatch", protocol="external-v1", unlabeled=pool)
    assert item.cell.pool == "others"
    assert str(item.cell.folder()).startswith("external-v1/patterns@3+others/ratio-0.1/fixmatch")


def test_a_pool_stands_instead_of_the_rest_or_beside_it(plan: Any, patterns: Path, pool: str) -> None:
    seen = {}
    for unlabeled in (None, pool, f"rest+{pool}"):
        (item,) = plan("fixmatch", unlabeled=unlabeled, check_data=True)
        resolved = resolve(item.cell, REGISTRY, sources_of(item.job))
        assert resolved.cell == item.cell
        split = select(resolved)
        rows = training_rows(resolved, split, unlabeled=True, everything=False).rows["unlabeled"]
        images = {(str(rows.stores[store]), row) for store, row in zip(rows.store, rows.row, strict=True)}
        seen[item.cell.pool] = images, split.fingerprints
    rest, other, both = (images for images, _ in seen.values())
    assert list(seen) == [None, "others", "rest+others"]
    assert (len(rest), len(other), both) == (108, 120, rest | other)
    assert len({fingerprints.unlabeled for _, fingerprints in seen.values()}) == 3
    assert str(item.cell.folder().parts[1]) == "patterns@3+rest+others"


def test_a_method_that_keeps_something_per_image_takes_no_stream(
    plan: Any, pool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd = str(describe(tmp_path / "crowd", "folder"))
    assert plan("fixmatch", unlabeled=crowd)[0].cell.pool == "crowd"
    monkeypatch.setattr(FixMatch, "requires", frozenset({"pool_index"}))
    with pytest.raises(UsageError, match="'crowd' is a stream; name a packed pool"):
        plan("fixmatch", unlabeled=f"rest+{crowd}")
    assert plan("fixmatch", unlabeled=pool)[0].cell.pool == "others"


def test_a_pool_that_is_too_small_for_a_method_is_refused_with_its_size(
    plan: Any, pool: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def problem(self: FixMatch, images: int) -> str:
        return "it wants 130 images; name more with --unlabeled" if images < 130 else ""

    monkeypatch.setattr(FixMatch, "pool_problem", problem)
    for unlabeled, where, found in ((None, "patterns with 10 % of the labels", 108), (pool, "others", 120)):
        with pytest.raises(UsageError, match="method 'fixmatch': it wants 130 images; name more") as refusal:
            plan("fixmatch", unlabeled=unlabeled, check_data=True)
        assert f"the pool of {where} has {found} images" in str(refusal.value)
    assert len(plan("fixmatch", "supervised", unlabeled=f"rest+{pool}", check_data=True)) == 2
    assert len(plan("supervised", check_data=True)) == 1


def test_a_method_that_requires_initial_weights_is_refused_without(
    plan: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FixMatch, "requires", frozenset({"init"}))
    with pytest.raises(UsageError, match=r"method 'fixmatch' needs initial weights.*--init"):
        plan("fixmatch")
    path = tmp_path / "weights.safetensors"
    save_file(build_backbone(REGISTRY, "small-resnet/4", 16, None).state_dict(), path)
    (item,) = plan("fixmatch", init=str(path))
    assert item.cell.init.startswith("sha256:")


def test_a_backbone_has_what_the_recipe_declares_for_it(plan: Any, tmp_path: Path) -> None:
    def rate(backbone: str, **settings: Any) -> tuple[float, bool]:
        request = RunRequest(
            methods=["supervised"],
            ratios=["0.05"],
            backbones=[backbone],
            overrides=settings,
            runs=tmp_path,
            device="cpu",
        )
        (item,) = make_plan(request, REGISTRY, check_data=False)
        resolved = resolve(item.cell, REGISTRY)
        return resolved.recipe.learning_rate, resolved.standard

    assert rate("small-resnet/16") == (4e-3, True)
    assert rate("small-vit") == rate("small-vit/96") == (1e-3, True)
    assert rate("small-vit", learning_rate=4e-3) == (4e-3, False)


def test_a_cell_stands_before_its_tests_on_other_sets(
    plan: Any, patterns: Path, pool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ferbench.execution.nets.check_parts", lambda net, count: None)
    eight = str(write_pattern_set(tmp_path / "eight", name="eight", classes=EIGHT_CLASSES))
    planned = plan("fixmatch", "supervised", test_on=[pool, eight, pool], processes=2, set={"labeled_batch": 6})
    assert [(item.cell.method, item.cell.test_on) for item in planned] == [
        (method, test_on) for method in ("fixmatch", "supervised") for test_on in (None, "others", "eight")
    ]
    base, other, _ = planned[:3]
    assert base.cell == other.cell.base == plan("fixmatch", set={"labeled_batch": 6})[0].cell
    assert (base.job.test_on, other.job.test_on) == (None, pool)
    assert (base.job.processes, other.job.processes) == (2, 1)
    assert (base.job.needs_model, other.job.needs_model) == (True, False)
    resolved = resolve(other.cell, REGISTRY, sources_of(other.job))
    assert resolved.cell == other.cell
    assert (resolved.base.cell, resolved.base.test_set) == (base.cell, None)
    assert [str(item.cell.folder().parts[1]) for item in planned[:3]] == [
        "patterns@3",
        "patterns@3@others",
        "patterns@3@eight",
    ]


def test_what_cannot_be_tested_is_found_in_planning(plan: Any, patterns: Path, pool: str, tmp_path: Path) -> None:
    strangers = str(write_pattern_set(tmp_path / "b", name="b", classes=("anger", "sadness", "fear")))
    with pytest.raises(UsageError, match=r"--test-on b: 'patterns' .* share one class"):
        plan("fixmatch", test_on=[strangers])
    with pytest.raises(UsageError, match=r"--test-on patterns: every run on 'patterns'"):
        plan("fixmatch", test_on=[pool, str(patterns)])


def test_steps_are_graphs_only_where_they_can_be(plan: Any) -> None:
    """Each refusal says why; a cell that is compiled is another one, and not standard."""
    vat, meta = (REGISTRY.load("methods", name).runs_eagerly for name in ("vat", "meta-pseudo-labels"))
    refusals = {
        f"--compile net: method 'vat' {vat}; omit --compile": ("vat", "net"),
        f"--compile step: method 'vat' {vat}; omit --compile": ("vat", "step"),
        f"--compile net: method 'meta-pseudo-labels' {meta}": ("meta-pseudo-labels", "net"),
        "--compile step: only a CUDA device repeats a captured step, and --device is cpu": ("fixmatch", "step"),
    }
    for text, (method, mode) in refusals.items():
        with pytest.raises(UsageError) as caught:
            plan(method, compile=mode, pack=False)
        assert str(caught.value).startswith(text)
    (off,), (net,) = plan(pack=False), plan(compile="net", pack=False)
    assert off.cell.cell_id != net.cell.cell_id and off.cell.folder() != net.cell.folder()
    assert "compile" not in off.cell.model_dump(mode="json"), "ids of cells from before the field stay"
    assert net.cell.model_dump(mode="json")["compile"] == "net"
    assert "compile=net" in " ".join(net.departures) and "compile" not in " ".join(off.departures)


@pytest.mark.parametrize("mode", ["net", "step"])
def test_processes_do_not_share_a_graph(mode: Any) -> None:
    facts = facts_of(FixMatch(FixMatch.Config()), RATIO_V1.recipes["synthfaces"], RATIO_V1)
    request = RunRequest(["fixmatch"], device="cuda", compile=mode)
    check_compile(request, "fixmatch", facts)
    with pytest.raises(UsageError, match=f"--compile {mode}: several processes exchange gradients within a step"):
        check_compile(replace(request, processes=2), "fixmatch", facts)


def test_the_command_of_a_compiled_cell_compiles_it(plan: Any) -> None:
    (net,) = plan(compile="net", pack=False)
    command = run_command(net.cell, Sources())
    assert command[command.index("--compile") + 1] == "net"
