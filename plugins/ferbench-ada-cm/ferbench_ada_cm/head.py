"""Ada-CM's head."""

import torch.nn.functional as F
from torch import Tensor, nn

from ferbench.contract.head import Head, Output


class NormalizedHead(Head):
    """Dropout, L2 norm, one linear layer; `features` are the unit vectors, which the layer and the contrast use."""

    def __init__(self, feature_size: int, n_classes: int, dropout: float = 0.5) -> None:
        super().__init__(feature_size, n_classes)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(feature_size, n_classes)

    def forward(self, features: Tensor) -> Output:
        unit = F.normalize(self.dropout(features))
        return Output(self.linear(unit), unit)
