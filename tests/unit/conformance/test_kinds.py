"""Each broken part is caught by the check that is meant for it, and honest ones pass."""

from importlib import import_module

import pytest
import torch

from ferbench.conformance.framework import CheckResult
from ferbench.conformance.surroundings import Surroundings
from ferbench.discovery.loader import builtin_registry
from ferbench.discovery.registry import Entry
from ferbench.errors import PluginError
from ferbench.execution.nets import check_backbone
from tests.support.refusals import refused

HONEST = {
    "heads": ["ferbench.contract.head:LinearHead"],
    "backbones": ["tests.support.broken_parts:small", "ferbench.builtin.backbones.small_resnet:build"],
    "datasets": ["tests.support.broken_parts:Bars"],
    "views": ["tests.support.broken_parts:honest_view", "ferbench.data.load.views:strong"],
    "commands": ["tests.support.broken_parts:honest_command"],
}
BROKEN = [
    ("heads", "HiddenState", "its state_dict contains all of its state"),
    ("heads", "AlwaysDropout", "evaluation is deterministic"),
    ("heads", "MixingHead", "in evaluation, an image gives the same output alone and in a batch"),
    ("heads", "NumpyHead", "random weights depend only on torch's seed"),
    ("heads", "ReadingHead", "never waits for the device"),
    ("heads", "ShortHead", "maps features to an Output"),
    ("backbones", "counting", "its state_dict contains all of its state"),
    ("backbones", "noisy", "evaluation is deterministic"),
    ("backbones", "mixing", "in evaluation, an image gives the same output alone and in a batch"),
    ("backbones", "unseeded", "random weights depend only on torch's seed"),
    ("backbones", "ignores_init", "uses the given initial weights"),
    ("datasets", "UnstableOrder", "two passes give the same samples in the same order"),
    ("datasets", "SameIds", "ids are unique"),
    ("datasets", "OtherLabels", "labels are exactly the declared classes"),
    ("datasets", "OtherOrder", "declares its information"),
    ("datasets", "Undecodable", "every sample can be read"),
    ("datasets", "NoTraining", "has the splits that cells need"),
    ("views", "lost_boxes", "boxes move with their images"),
    ("views", "float_view", "maps uint8 images and boxes to uint8 images and boxes"),
    ("views", "global_view", "draws only from its generator"),
    ("views", "mixing_view", "the view of an image does not depend on other images"),
    ("commands", "silent_command", "is a click command with help"),
    ("commands", "greedy_command", "a wrong option ends with exit code 2"),
]


def results(kind: str, target: str) -> list[CheckResult]:
    torch.set_num_threads(1)
    module = import_module(f"ferbench.conformance.{kind}")
    entry = Entry(kind, "part", target, "", "", 1, "ferbench-part", "1.0")
    case = module.case(entry, Surroundings(builtin_registry()))
    return [check.run(check.name, case) for check in module.CHECKS if not check.slow]


@pytest.mark.parametrize(("kind", "target"), [(kind, target) for kind, targets in HONEST.items() for target in targets])
def test_honest_parts_pass(kind: str, target: str) -> None:
    assert [str(found) for found in results(kind, target) if not found.ok] == []


@pytest.mark.parametrize(("kind", "part", "check"), BROKEN)
def test_broken_parts_are_caught(kind: str, part: str, check: str) -> None:
    failed = {found.name: found for found in results(kind, f"tests.support.broken_parts:{part}") if not found.ok}
    assert check in failed
    assert failed[check].protects and failed[check].mend
    # Consequences aside: noise differs between images, too, and what changes with each call has hidden state.
    if (kind, part) not in SEVERAL:
        assert list(failed) == [check]


SEVERAL = {
    ("heads", "AlwaysDropout"),
    ("backbones", "noisy"),
    ("backbones", "unseeded"),
    ("datasets", "NoTraining"),
    ("views", "float_view"),
    ("views", "global_view"),
    ("views", "mixing_view"),
}


def test_shipped_protocols_pass() -> None:
    assert [str(found) for found in protocol("ratio-v1") if not found.ok] == []


def protocol(name: str) -> list[CheckResult]:
    module, registry = import_module("ferbench.conformance.protocols"), builtin_registry()
    case = module.case(registry.get("protocols", name), Surroundings(registry))
    return [check.run(check.name, case) for check in module.CHECKS if check.name != "every recipe can be built"]


def test_a_builder_that_fails_is_named_with_its_error() -> None:
    registry = builtin_registry()
    broken = Entry("backbones", "bad", "tests.support.broken_parts:raising", "", "", 1, "ferbench-bad", "1.0")
    registry.entries["backbones"]["bad"] = broken  # type: ignore[index]
    with refused(PluginError, "'bad'", "ValueError", "invalid literal", "ferbench-bad"):
        check_backbone(registry, "bad", 48)
