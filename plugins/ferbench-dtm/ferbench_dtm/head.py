"""The head of the public code."""

import torch.nn.functional as F
from torch import Tensor, nn

from ferbench.contract.head import Head, Output


class UnitHead(Head):
    """One linear layer on features of unit length (L2), without dropout; `features` are the unit vectors."""

    def __init__(self, feature_size: int, n_classes: int) -> None:
        super().__init__(feature_size, n_classes)
        self.linear = nn.Linear(feature_size, n_classes)

    def forward(self, features: Tensor) -> Output:
        unit = F.normalize(features)
        return Output(self.linear(unit), unit)
