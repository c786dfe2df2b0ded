"""A step and an end of epoch made of golden values, for the methods that are compared with them."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ferbench.contract.batch import ForwardedViews, MethodInfo, NamedOutputs, PoolPredictions
from ferbench.contract.head import Output


class LabeledPass:
    """An end of epoch that knows what the teacher says of the labeled images."""

    def __init__(self, epoch: int, logits: Tensor, labels: Tensor) -> None:
        self.epoch = epoch
        self.asked: dict[str, object] = {}
        self._predictions = PoolPredictions(logits, labels, torch.arange(len(labels)))

    def predict(self, pool: str, **options: object) -> PoolPredictions:
        assert pool == "labeled"
        self.asked = options
        return self._predictions


def info_of(n_classes: int) -> MethodInfo:
    return MethodInfo(tuple("abcdefgh"[:n_classes]), (8,) * n_classes, 56, 48, 40, 2, 16)


def forwarded_step(values: Mapping[str, Any]) -> ForwardedViews:
    """The outputs of a step: logits of four views and, where there are some, features of weak ones."""

    def output(name: str) -> Output:
        logits = torch.tensor(values[f"logits_{name}"])
        features = values.get(f"features_{name}")
        return Output(logits, torch.zeros(len(logits), 16) if features is None else torch.tensor(features))

    views = {name: output(name) for name in ("weak1", "weak2", "strong")}
    return ForwardedViews(NamedOutputs({"weak": output("labeled")}), NamedOutputs(views))
