"""A backbone of a few numbers, for steps of methods that are computed a second time."""

import torch
from torch import Tensor

from ferbench.contract.backbone import Backbone


class Pixels(Backbone):
    """BatchNorm and one layer over 4 x 4 pixels."""

    feature_size = 12

    def __init__(self) -> None:
        super().__init__()
        self.norm = torch.nn.BatchNorm2d(3)
        self.linear = torch.nn.Linear(48, 12)

    def forward(self, images: Tensor) -> Tensor:
        return torch.relu(self.linear(self.norm(images).flatten(1)))
