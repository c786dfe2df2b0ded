"""Each broken method is caught by the check that is meant for it, and honest ones pass."""

from dataclasses import replace

import pytest
import torch

from ferbench.conformance import methods
from ferbench.conformance.framework import CheckResult
from ferbench.conformance.surroundings import Surroundings
from ferbench.discovery.loader import builtin_registry
from ferbench.discovery.registry import Entry

LOSSES = "losses are tensors of the right shapes and ranges"
DECLARED = "stages and views are declared"
HONEST_MASK = "reported pseudo-labels and mask are the ones that train"
BROKEN = {
    "DictViews": (DECLARED, "views is a dict; give Views("),
    "EarlyInfo": (DECLARED, "stages() may use only self.config"),
    "IgnoredOption": ("every option changes something", "temperature"),
    "FloatLabels": (LOSSES, "int64"),
    "TwiceTheLabels": (LOSSES, "(32,)"),
    "InPlace": (LOSSES, "changes batch.labels in place"),
    "AllUsed": (HONEST_MASK, "do not train"),
    "SurestAlone": (HONEST_MASK, "with mask 0 train"),
    "OtherLabel": (HONEST_MASK, "different label"),
    "InnerSteps": ("the engine takes every optimizer step", "120 of SGD"),
    "OtherNetEachTime": ("evaluation_net returns the same net each time", "different weights"),
}


def check(method: str, name: str) -> CheckResult:
    torch.set_num_threads(1)
    entry = Entry("methods", "broken", f"tests.support.broken_methods:{method}", "", "", 1, "ferbench-broken", "1.0")
    case = methods.case(entry, Surroundings(builtin_registry()))
    (found,) = [check.run(name, case) for check in methods.CHECKS if check.name == name]
    return found


@pytest.mark.parametrize("method", BROKEN)
def test_broken_methods_are_caught(method: str) -> None:
    name, words = BROKEN[method]
    found = check(method, name)
    assert not found.ok and words in found.detail
    assert found.protects and found.mend


@pytest.mark.parametrize("name", dict.fromkeys(name for name, _ in BROKEN.values()))
def test_the_honest_base_passes(name: str) -> None:
    assert check("Honest", name).outcome == "ok", check("Honest", name)


def test_the_title_of_no_variant_is_caught() -> None:
    name = "titles belong to existing variants"
    honest = Entry("methods", "honest", "tests.support.broken_methods:Honest", "", "", 1, "ferbench-broken", "1.0")
    (check,) = [check for check in methods.CHECKS if check.name == name]
    wrong, right = (
        check.run(name, methods.case(replace(honest, titles={variant: "Mine"}), Surroundings(builtin_registry())))
        for variant in ("descibed", "described")
    )
    assert not wrong.ok and "did you mean 'described'" in wrong.detail
    assert right.ok


@pytest.mark.slow
def test_growing_memory_is_caught() -> None:
    found = check("Growing", "memory does not grow over 200 steps")
    assert not found.ok and "tensors after half of the steps" in found.detail
    assert check("Honest", "memory does not grow over 200 steps").ok


@pytest.mark.process
def test_what_differs_between_processes_is_caught() -> None:
    found = check("HashedSeed", "other processes compute the same result")
    assert not found.ok and "3 different results" in found.detail
