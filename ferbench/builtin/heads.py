"""The standard head."""

from torch import Tensor, nn

from ferbench.contract.head import Head, Output


class LinearHead(Head):
    """One linear layer on the pooled features."""

    def __init__(self, feature_size: int, n_classes: int) -> None:
        super().__init__(feature_size, n_classes)
        self.linear = nn.Linear(feature_size, n_classes)

    def forward(self, features: Tensor) -> Output:
        return Output(self.linear(features), features)
