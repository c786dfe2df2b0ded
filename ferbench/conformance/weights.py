"""Checks for registered initial weights."""

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
    """A function from a backbone to its file, and a backbone for which it has one."""

    file_for: Callable[[str], Path]
    example: str
    surroundings: Surroundings


def case(entry: Entry, surroundings: Surroundings) -> WeightsCase:
    """Return the case of registered weights."""
    return WeightsCase(entry.load(), entry.example, surroundings)


@CHECKS.add(
    "fit their example backbone",
    protects="runs with --init NAME, which start from the weights in the file",
    mend="call register(..., example='FAMILY/VARIANT') with a function (backbone) -> Path of a .safetensors file",
)
def fit(case: WeightsCase) -> str:
    assert case.example, "no example is registered"
    family, _, variant = case.example.partition("/")
    builder = case.surroundings.registry.get("backbones", family).load()
    built = builder(BackboneRequest(variant, RECIPE.image_size, case.file_for(case.example)))
    assert built.init_match is not None, (
        f"{case.example} does not set init_match, so it is unknown which tensors matched"
    )
    return built.init_match.summary()


@CHECKS.add(
    "refuse other backbones by name",
    protects="people who name a backbone that the weights do not fit",
    mend="raise a ferbench.errors.UsageError that names the backbones that they fit",
)
def refuse(case: WeightsCase) -> None:
    refusal = ""
    try:
        case.file_for("no-such-backbone")
    except UsageError as error:
        refusal = str(error)
    assert "no-such-backbone" in refusal, "an unknown backbone is not refused with its name"
