"""Tuned options: who may register them, and what a plugin has to declare."""

from typing import Any

import pytest

from ferbench.discovery.loader import load_registry
from ferbench.discovery.registry import Registry
from ferbench.hookspecs import Register, hookimpl
from tests.unit.discovery.test_loader import EntryPoint, load, only_problem, plugin, registering

TUNED: dict[str, Any] = {"method": "mine", "trials": 4, "source": "trials.md"}


def tuning(*calls: tuple[tuple[Any, ...], dict[str, Any]]) -> dict[str, Any]:
    """A hook that makes these calls of `register`."""

    @hookimpl
    def ferbench_register_tunings(register: Register) -> None:
        for positional, named in calls:
            register(*positional, **named)

    return {"ferbench_register_tunings": ferbench_register_tunings}


def mine(*calls: tuple[tuple[Any, ...], dict[str, Any]], target: str = "json:JSONDecoder") -> EntryPoint:
    return plugin("ferbench-mine", **registering("mine", target=target), **tuning(*calls))


def found(registry: Registry, *families: str) -> dict[str, Any] | None:
    tuned = registry.tuning("methods", "mine", "ratio-v1", families)
    return tuned and dict(tuned.options)


def test_an_owner_tunes_its_method_for_each_family() -> None:
    registry = load(
        mine((("ratio-v1", "a", {"x": 1}), TUNED), (("ratio-v1", "default", {"x": 2}), {**TUNED, "trials": 9}))
    )
    assert registry.problems == ()
    assert found(registry, "a", "default") == {"x": 1}
    assert found(registry, "b", "default") == {"x": 2}
    assert found(registry, "b") is None
    assert registry.tuning("methods", "mine", "count-v1", ["a"]) is None
    assert [(each.trials, each.source, each.distribution) for each in registry.plugins[1].tunings] == [
        (4, "trials.md", "ferbench-mine"),
        (9, "trials.md", "ferbench-mine"),
    ]


def test_what_is_tuned_of_a_variant_goes_before_what_is_tuned_of_the_method() -> None:
    whole, alone = ("ratio-v1", "a", {"x": 1}), ("ratio-v1", "a", {"x": 2})
    registry = load(mine((whole, TUNED), (alone, {**TUNED, "variant": "fast"})))
    assert registry.problems == ()

    def options(variant: str) -> Any:
        tuned = registry.tuning("methods", "mine", "ratio-v1", ["a"], variant)
        return tuned and tuned.options

    assert [options(variant) for variant in ("", "slow", "fast")] == [{"x": 1}, {"x": 1}, {"x": 2}]
    only = load(mine((alone, {**TUNED, "variant": "fast"})))
    assert only.tuning("methods", "mine", "ratio-v1", ["a"], "slow") is None


@pytest.mark.parametrize(
    ("calls", "message"),
    [
        ([(("ratio-v1", "a", {}), {**TUNED, "method": "fixmatch"})], "which belongs to ferbench;"),
        ([(("ratio-v1", "a", {}), {**TUNED, "method": "nobodys"})], "which no distribution registers"),
        ([(("ratio-v1", "a", {"x": 1}), TUNED), (("ratio-v1", "a", {"x": 1}), TUNED)], "more than once"),
        ([(("ratio-v1", "a", {}), {**TUNED, "trials": 0})], "trials=0"),
        ([(("ratio-v1", "a", {}), {**TUNED, "trials": True})], "trials=True"),
        ([(("ratio-v1", "a", {}), {**TUNED, "source": " "})], "source=' '"),
        ([(("ratio-v1", "a", {}), {**TUNED, "head": "linear"})], "malformed"),
        ([(("ratio-v1", "a", {}), {**TUNED, "method": "", "head": "linear", "variant": "fast"})], "malformed"),
        (
            2 * [(("ratio-v1", "a", {}), {**TUNED, "variant": "fast"})],
            "'mine@fast' under ratio-v1 for a more",
        ),
        ([(("ratio-v1", "a", {}), {**TUNED, "method": ""})], "malformed"),
        ([(("ratio-v1", "a", 3), TUNED)], "malformed"),
    ],
)
def test_what_may_not_be_registered_is_a_problem_and_is_not_used(calls: list[Any], message: str) -> None:
    registry = load(mine(*calls))
    assert message in only_problem(registry).message
    assert {tuned.distribution for tuned in registry.tunings} == {"ferbench"}
    assert registry.names("methods") == load(mine()).names("methods")


def test_a_stranger_takes_nothing_from_the_owner() -> None:
    owner = mine((("ratio-v1", "a", {"x": 1}), TUNED))
    stranger = plugin("ferbench-other", **tuning((("ratio-v1", "a", {"x": 5}), TUNED)))
    registry = load(owner, stranger)
    assert only_problem(registry).distribution == "ferbench-other"
    assert found(registry, "a") == {"x": 1}


def test_the_core_holds_no_options_of_a_plugin() -> None:
    registry = load_registry({"FERBENCH_PLUGINS": ""})
    assert {tuned.name for tuned in registry.tunings} == {"supervised", "fixmatch", "small-vit"}
