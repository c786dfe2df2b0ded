import json
import string
from pathlib import PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ferbench.records.cell import Budget, Cell, canonical_json, digest, normal_ratio

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=10,
).filter(lambda value: "\\ud" not in json.dumps(value))

# names that are parts of each other, so that different cells come close
names = st.sampled_from(["a", "b", "ab", "a-b", "a.b", "a_b", "a1", "a-linear"])
backbones = st.sampled_from(["a", "a-b", "a/b", "a/a_b", "a-b/a", "a.b", "ab"])
budgets = st.one_of(
    st.builds(Budget, ratio=st.sampled_from(["0.01", "0.1", "1"]), allocation=names),
    st.builds(Budget, count=st.integers(1, 30), allocation=names),
    st.builds(Budget, per_class=st.integers(1, 30)),
)
fields = {
    "protocol": names,
    "dataset": names,
    "classes": st.sampled_from(["7", "8"]),
    "pool": st.none() | names,
    "budget": budgets,
    "method": names,
    "variant": st.sampled_from(["described", "weak", "a"]),
    "head": st.sampled_from(["linear", "leaf", "a"]),
    "backbone": backbones,
    "init": st.sampled_from(["scratch", "sha256:" + "a" * 64, "sha256:" + "b1" * 32]),
    "seed": st.integers(0, 3),
    "overrides": st.fixed_dictionaries(
        {},
        optional={kind: st.dictionaries(st.sampled_from("xy"), st.integers(0, 2)) for kind in ("protocol", "method")},
    ),
    "precision": st.sampled_from(["fp32", "bf16"]),
    "test_on": st.none() | names | st.sampled_from(["7", "8"]),
}
cells = st.builds(Cell, **fields)
quick = settings(deadline=None, max_examples=60)


def cell(**changes):
    fields = {
        "protocol": "ratio-v1",
        "dataset": "synthfaces",
        "budget": Budget(ratio="0.05"),
        "method": "fixmatch",
        "backbone": "small-resnet",
        "seed": 0,
    }
    return Cell(**{**fields, **changes})


@quick
@given(json_values)
def test_canonical_json_is_one_spelling(value):
    data = canonical_json(value)
    assert canonical_json(json.loads(data)) == data
    assert digest(json.loads(data)) == digest(value)


def test_canonical_json_sorts_and_refuses_nan():
    assert canonical_json({"b": 1, "a": [1.5, "é"]}) == '{"a":[1.5,"é"],"b":1}'.encode()
    with pytest.raises(ValueError):
        canonical_json(float("nan"))


@quick
@given(cells)
def test_a_cell_survives_json(one):
    again = Cell.model_validate(json.loads(canonical_json(one.model_dump(mode="json"))))
    assert again == one
    assert again.cell_id == one.cell_id
    assert hash(again) == hash(one)


@quick
@given(cells, cells, st.sets(st.sampled_from(list(fields)), max_size=3))
def test_two_cells_never_share_a_folder_or_an_id(one, source, changed):
    other = Cell(**{name: getattr(source if name in changed else one, name) for name in fields})
    assert (one == other) == (one.cell_id == other.cell_id)
    assert (one == other) == (one.folder() == other.folder())


@quick
@given(cells)
def test_a_folder_stays_below_the_root(one):
    folder = one.folder()
    assert not folder.is_absolute()
    assert len(folder.parts) == 6
    assert not {"..", "."} & set(folder.parts)


def test_folder_of_a_plain_cell():
    assert cell().folder() == PurePosixPath("ratio-v1/synthfaces/ratio-0.05/fixmatch/small-resnet/seed0")


def test_folder_of_a_cell_with_everything():
    full = cell(
        classes="8",
        pool="vggface2",
        budget=Budget(count=400, allocation="adacm"),
        variant="released",
        head="leaf",
        backbone="timm/vit_small",
        init="sha256:" + "0123456789abcdef" * 4,
        overrides={"protocol": {"steps": 60}},
    )
    mark = digest({"protocol": {"steps": 60}})[:8]
    expected = (
        f"ratio-v1/synthfaces@8+vggface2/count-400-adacm/fixmatch@released+leaf~{mark}/timm_vit_small-01234567/seed0"
    )
    assert str(full.folder()) == expected
    assert full.row == "fixmatch@released+leaf"
    assert full.changes == "protocol.steps=60"


def test_a_pool_beside_the_rest_is_another_cell():
    instead, beside = cell(pool="vggface2"), cell(pool="rest+vggface2")
    assert (instead.pool_name, instead.keeps_rest) == ("vggface2", False)
    assert (beside.pool_name, beside.keeps_rest) == ("vggface2", True)
    assert instead.folder().parts[1] == "synthfaces+vggface2"
    assert beside.folder().parts[1] == "synthfaces+rest+vggface2"
    assert instead.cell_id != beside.cell_id


def test_a_cell_without_another_test_set_is_what_it_was_before_there_were_any():
    """The id of a published record, whose canonical JSON has no `test_on`."""
    published = cell(dataset="synthfaces", backbone="small-resnet/16")
    assert published.cell_id == "b8118cee1e1390287dcbdb08bd111886d05004c80b23c41e59ca8940abf3bf6d"
    assert "test_on" not in published.model_dump(mode="json")
    assert cell(test_on=None) == cell()
    assert cell(test_on=None).cell_id == cell().cell_id


def test_a_test_on_another_set_has_a_base_and_a_folder_of_its_own():
    plain, pooled = cell(dataset="raf-db"), cell(dataset="raf-db", classes="8", pool="rest+vggface2")
    for base, place in ((plain, "raf-db@7@jaffe"), (pooled, "raf-db@8+rest+vggface2@jaffe")):
        crossed = Cell(**{**dict(base), "test_on": "jaffe"})
        assert crossed.base == base == base.base
        assert crossed.cell_id != crossed.base.cell_id == base.cell_id
        assert crossed.folder().parts == (base.folder().parts[0], place, *base.folder().parts[2:])
        assert Cell.model_validate(json.loads(canonical_json(crossed.model_dump(mode="json")))) == crossed


def test_precision_is_part_of_the_folder():
    assert cell(precision="bf16").folder() != cell().folder()


@pytest.mark.parametrize(
    "field",
    ["protocol", "dataset", "classes", "pool", "method", "variant", "head", "backbone", "precision", "test_on"],
)
@pytest.mark.parametrize(
    "name",
    [
        "",
        "..",
        "../x",
        "/etc",
        "a/../b",
        "a\\b",
        "a\n",
        "a b",
        "A",
        "a@b",
        "a+b",
        "a~b",
        "é",
        "a" * 200,
        "a\x00",
        "-a",
        ".a",
        "a.",
    ],
)
def test_names_that_could_leave_the_root_or_clash_are_refused(field, name):
    with pytest.raises(ValidationError):
        cell(**{field: name})


@pytest.mark.parametrize("backbone", ["small_resnet", "a/b/c", "resnet-0a1b2c3d", "timm/", "/x"])
def test_backbone_names_that_would_share_a_folder_are_refused(backbone):
    with pytest.raises(ValidationError):
        cell(backbone=backbone)


@pytest.mark.parametrize("init", ["sha256:abc", "SHA256:" + "a" * 64, "weights.pt"])
def test_init_is_scratch_or_a_hash(init):
    with pytest.raises(ValidationError):
        cell(init=init)


def test_overrides_are_json_of_options():
    assert cell(overrides={"protocol": {}, "method": {}}) == cell()
    for overrides in ({"protocol": {"steps": float("nan")}}, {"protocol": {"../x": 1}}, {"other": {"a": 1}}):
        with pytest.raises(ValidationError):
            cell(overrides=overrides)


@pytest.mark.parametrize(
    ("given_", "expected"), [(0.05, "0.05"), ("5e-2", "0.05"), ("0.050", "0.05"), (1, "1"), ("1.0", "1")]
)
def test_equal_ratios_have_one_spelling(given_, expected):
    assert normal_ratio(given_) == expected
    assert Budget(ratio=given_) == Budget(ratio=expected)


@pytest.mark.parametrize("ratio", ["0", "-0.1", "1.01", "nan", "inf", "5%", "", "1e-400", "0.0000000000001"])
def test_ratios_that_are_none(ratio):
    with pytest.raises(ValidationError):
        Budget(ratio=ratio)


def test_a_budget_is_exactly_one_amount():
    for fields in ({}, {"ratio": "0.1", "count": 3}, {"count": 0}, {"per_class": 3, "allocation": "adacm"}):
        with pytest.raises(ValidationError):
            Budget(**fields)


@pytest.mark.parametrize(
    ("budget", "label", "title"),
    [
        (Budget(ratio="0.05"), "ratio-0.05", "5 % of the labels"),
        (Budget(ratio="1"), "ratio-1", "100 % of the labels"),
        (Budget(count=400, allocation="adacm"), "count-400-adacm", "400 labels (adacm)"),
        (Budget(per_class=10), "per-class-10", "10 labels per class"),
    ],
)
def test_budget_words(budget, label, title):
    assert (budget.label(), budget.title()) == (label, title)


def test_budgets_sort_by_amount():
    small, large = Budget(ratio="0.05"), Budget(ratio="0.1")
    assert sorted([Budget(count=9), large, small], key=Budget.order) == [small, large, Budget(count=9)]


def test_names_have_room_for_real_ones():
    assert cell(backbone="timm/convnext_tiny.fb_in22k_ft_in1k").folder().parts[4].startswith("timm_convnext")
    assert set(cell().cell_id) <= set(string.hexdigits)
