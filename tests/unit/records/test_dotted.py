"""Dotted names of nested values, and back."""

from ferbench.records.dotted import flat, nested

NESTED = {"threshold": 0.9, "released": {"state_decay": 0.02, "loop": {"joint": True}}, "weights": {"a": 1}}


def test_all_mappings_are_groups_unless_they_are_named() -> None:
    every = {"threshold": 0.9, "released.state_decay": 0.02, "released.loop.joint": True, "weights.a": 1}
    assert dict(flat(NESTED)) == every
    named = {"threshold": 0.9, "released.state_decay": 0.02, "released.loop.joint": True, "weights": {"a": 1}}
    assert dict(flat(NESTED, {"released", "released.loop"})) == named
    assert nested(every) == nested(named) == NESTED


def test_an_empty_mapping_is_a_value_and_an_empty_group_is_nothing() -> None:
    assert dict(flat({"a": {}})) == {"a": {}}
    assert dict(flat({"a": {}}, {"a"})) == {}
