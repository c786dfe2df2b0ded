"""What registered initial weights must keep."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ferbench.conformance.framework import Checks
from ferbench.conformance.surroundings import Surroundings
from ferbench.conformance.toy_task import RECIPE
from ferbench.contract.backbone import BackboneRequest
from ferbench.discovery.registry import Entry
from ferbench.errors import UsageError

CHECKS = Checks()


@dataclass(frozen=True)
class WeightsCase:
    """What gives the file for a backbone, and a backbone that it is for."""

    file_for: Callable[[str], Path]
    example: str
    surroundings: Surroundings


def case(entry: Entry, surroundings: Surroundings) -> WeightsCase:
    """The case of registered weights."""
    return WeightsCase(entry.load(), entry.example, surroundings)


@CHECKS.add(
    "fit the backbone that is their example",
    protects="runs with --init NAME, which begin with what the file holds",
    mend="register(..., example='FAMILY/VARIANT') with a function (backbone) -> Path of a .safetensors file",
)
def fit(case: WeightsCase) -> str:
    assert case.example, "no example is registered"
    family, _, variant = case.example.partition("/")
    builder = case.surroundings.registry.get("backbones", family).load()
    built = builder(BackboneRequest(variant, RECIPE.image_size, case.file_for(case.example)))
    assert built.init_match is not None, f"{case.example} does not say what matched"
    return built.init_match.summary()


@CHECKS.add(
    "refuse other backbones by name",
    protects="whoever names a backbone that they are not for",
    mend="raise ferbench.errors.UsageError that names the backbones they are for",
)
def refuse(case: WeightsCase) -> None:
    refusal = ""
    try:
        case.file_for("no-such-backbone")
    except UsageError as error:
        refusal = str(error)
    assert "no-such-backbone" in refusal, "a backbone that does not exist is not refused by name"
