"""What a protocol may declare, and what is refused."""

import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import Field, ValidationError

from ferbench.builtin.protocols import RATIO_V1, SYNTHFACES
from ferbench.contract.protocol import (
    ConfusionNoise,
    Protocol,
    Recipe,
    StrongView,
    SymmetricNoise,
    Validation,
    WeakView,
    unknown_fields,
)
from ferbench.discovery.loader import builtin_protocols, load_registry
from ferbench.errors import PluginError
from ferbench.hookspecs import Register, hookimpl
from tests.support.refusals import refused
from tests.unit.discovery.test_loader import plugin

CHOOSES = "the model that a method chooses on the validation images"


def protocol(of: type[Protocol] = Protocol, **fields: Any) -> Protocol:
    """A protocol of a plugin."""
    return of(**{"name": "x-v1", "purpose": "p", "budget": "ratio", "recipes": {"default": SYNTHFACES}, **fields})


class NoisyProtocol(Protocol):
    noise_rate: float = 0.2


class LongerRecipe(Recipe):
    restarts: int = 3


class BlurredView(WeakView):
    blur: float = Field(0.5, ge=0)


class WilderView(StrongView):
    jitter: float = 0.1


class SlowerRecipe(Recipe):
    """Another default of a field that the core knows."""

    warmup: float = Field(0.1, ge=0, lt=1)


VALUES = SYNTHFACES.model_dump()


@pytest.mark.parametrize(
    ("declared", "names"),
    [
        (protocol(), []),
        (protocol(NoisyProtocol), ["NoisyProtocol.noise_rate"]),
        (protocol(recipes={"default": LongerRecipe(**VALUES)}), ["LongerRecipe.restarts"]),
        (protocol(recipes={"default": SlowerRecipe(**VALUES)}), []),
        (
            protocol(
                recipes={"default": SYNTHFACES.model_copy(update={"weak": BlurredView(), "strong": WilderView()})}
            ),
            ["BlurredView.blur", "WilderView.jitter"],
        ),
    ],
)
def test_fields_that_the_core_does_not_know_are_named(declared: Protocol, names: list[str]) -> None:
    assert unknown_fields(declared) == names


def test_built_in_protocols_declare_nothing_unknown() -> None:
    assert not any(unknown_fields(each) for each in builtin_protocols().values())


@pytest.fixture
def module() -> Iterator[types.ModuleType]:
    made = types.ModuleType("ferbench_x_protocols")
    sys.modules[made.__name__] = made
    yield made
    del sys.modules[made.__name__]


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (protocol(NoisyProtocol), ["NoisyProtocol.noise_rate", "ferbench-x", "ignore"]),
        (protocol(recipes={"default": LongerRecipe(**VALUES)}), ["LongerRecipe.restarts"]),
        (protocol(name="y-v1"), ["'y-v1'", "registered name"]),
        (NoisyProtocol, ["is the class NoisyProtocol", "instance"]),
        (SYNTHFACES, ["ferbench.contract.protocol.Protocol"]),
    ],
)
def test_a_protocol_that_would_not_do_what_it_says_is_refused(
    target: Any, words: list[str], module: types.ModuleType
) -> None:
    @hookimpl
    def ferbench_register_protocols(register: Register) -> None:
        register("x-v1", "ferbench_x_protocols:TARGET", summary="X")

    vars(module)["TARGET"] = target
    hooks = {"ferbench_register_protocols": ferbench_register_protocols}
    registry = load_registry({}, [plugin("ferbench-x", **hooks)])  # type: ignore[list-item]
    with refused(PluginError, *words):
        registry.load("protocols", "x-v1")


@pytest.mark.parametrize(("summary", "refusal"), [("X, new", True), ("Draft: X, new", False)])
def test_a_draft_says_in_lists_that_it_is_one(summary: str, refusal: bool, module: types.ModuleType) -> None:
    @hookimpl
    def ferbench_register_protocols(register: Register) -> None:
        register("x-v1", "ferbench_x_protocols:TARGET", summary=summary)

    vars(module)["TARGET"] = protocol(draft=True)
    hooks = {"ferbench_register_protocols": ferbench_register_protocols}
    registry = load_registry({}, [plugin("ferbench-x", **hooks)])  # type: ignore[list-item]
    if refusal:
        with refused(PluginError, "'x-v1'", "is a draft", "summary", "'Draft: '"):
            registry.load("protocols", "x-v1")
    else:
        assert registry.load("protocols", "x-v1").draft


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, 1.5])
def test_a_rate_or_share_of_nothing_or_all_is_no_declaration(rate: float) -> None:
    with pytest.raises(ValidationError):
        SymmetricNoise(rate=rate)
    with pytest.raises(ValidationError):
        Validation(share=rate)


@pytest.mark.parametrize("row", [{}, {"fear": 0.9}, {"fear": 1.2, "anger": -0.2}])
def test_a_row_of_confusions_is_a_distribution(row: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match="confusion of fear"):
        ConfusionNoise(confusion={"fear": row})


def test_a_protocol_says_what_is_chosen_on_its_validation_images() -> None:
    with pytest.raises(ValidationError, match="must mention 'validation'"):
        protocol(validation=Validation(share=0.1))
    with pytest.raises(ValidationError, match="one video"):
        protocol(validation=Validation(share=0.1), selection=CHOOSES, rank_groups="video")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"temporal_window": 4, "rank_groups": "video"}, "4 must be odd"),
        ({"temporal_window": 5}, "needs rank_groups 'video', not 'image'"),
        ({"temporal_window": 1, "rank_groups": "video"}, "greater than or equal to 3"),
    ],
)
def test_a_window_is_of_frames_around_one(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        protocol(**fields)


def test_terms_of_an_evaluation_are_those_that_are_unusual() -> None:
    assert RATIO_V1.evaluation_terms == {}
    assert protocol(temporal_window=25, rank_groups="video").evaluation_terms == {"temporal_window": 25}


def test_a_record_names_what_is_not_the_default() -> None:
    assert RATIO_V1.recorded == {}
    assert protocol(draft=True, pool_order="rank").recorded == {"draft": True, "pool_order": "rank"}
    assert protocol(folds=3, seeds=(0, 1, 2)).recorded == {"folds": 3}


def test_terms_of_labels_are_those_that_are_unusual() -> None:
    assert RATIO_V1.label_terms == {}
    made = protocol(validation={"share": 0.1}, selection=CHOOSES, label_noise={"rate": 0.2})
    assert made.label_terms == {"validation": {"share": 0.1}, "label_noise": {"rate": 0.2}}
    assert isinstance(made.label_noise, SymmetricNoise)
    table = protocol(label_noise={"confusion": {"fear": {"fear": 0.5, "anger": 0.5}, "anger": {"anger": 1}}})
    assert isinstance(table.label_noise, ConfusionNoise)
