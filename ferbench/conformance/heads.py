"""Checks for heads."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ferbench.conformance.framework import Checks
from ferbench.conformance.networks import COMMON, NetworkCase
from ferbench.conformance.surroundings import Surroundings
from ferbench.conformance.toy_task import INFO
from ferbench.contract.head import Head, Output
from ferbench.discovery.registry import Entry

ROWS, SIZE = 6, 12

CHECKS = Checks()


def case(entry: Entry, surroundings: Surroundings) -> NetworkCase:
    """Return the case of a registered head."""
    target = entry.load()
    features = torch.randn(ROWS, SIZE, generator=torch.Generator().manual_seed(0))
    return NetworkCase(lambda: target(SIZE, INFO.n_classes), features, _outputs)


def _outputs(head: nn.Module, features: Tensor) -> Mapping[str, Tensor]:
    output = head(features)
    auxiliary = {} if output.aux_loss is None else {"aux_loss": output.aux_loss}
    extras = {f"extra '{name}'": value for name, value in output.extras.items()}
    return {"logits": output.logits, "features": output.features, **auxiliary, **extras}


@CHECKS.add(
    "maps features to an Output",
    protects="every method with this head: it reads logits, features, auxiliary loss and extras",
    mend="subclass ferbench.contract.head.Head and return Output(logits (B, C), features (B, D), "
    "aux_loss, extras) with "
    "one row per image",
)
def shapes(case: NetworkCase) -> str:
    head, classes = case.built(), INFO.n_classes
    assert isinstance(head, Head), "it does not subclass ferbench.contract.head.Head"
    output = head(case.inputs)
    assert isinstance(output, Output), f"forward returns {type(output).__name__}, not Output"
    assert output.logits.shape == (ROWS, classes), f"logits are {tuple(output.logits.shape)}, not ({ROWS}, {classes})"
    for name, value in {"features": output.features, **output.extras}.items():
        assert value.shape[:1] == (ROWS,), f"'{name}' is {tuple(value.shape)}, but it must have one row per image"
    if output.aux_loss is not None:
        assert output.aux_loss.shape == (), f"aux_loss is {tuple(output.aux_loss.shape)}, but it must be a scalar"
    assert output.logits.requires_grad, "logits have no gradient, so the head cannot be trained"
    return f"({ROWS}, {SIZE}) to ({ROWS}, {classes})"


@CHECKS.add(
    "never waits for the device",
    protects="the speed of every method on a GPU: a head that reads a value stalls the GPU at every step",
    mend="replace .item(), .cpu(), .tolist(), `if tensor` and boolean-mask indexing by torch.where and masks",
)
def static(case: NetworkCase) -> None:
    with torch.device("meta"):
        case.outputs(case.build(), torch.zeros(ROWS, SIZE))


CHECKS += COMMON
