"""A small residual net for CPU runs at about 48 px."""

import torch.nn.functional as F
from torch import Tensor, nn

from ferbench.contract.backbone import Backbone, BackboneRequest
from ferbench.errors import UsageError
from ferbench.weights import load_weights

WIDTHS = (2, 4, 6)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, the first of stride 2, with a shortcut that averages before its stride (ResNet-D)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential(
            nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False),
            nn.Conv2d(inputs, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        inner = F.relu(self.norm1(self.conv1(x)), inplace=True)
        return F.relu(self.norm2(self.conv2(inner)) + self.shortcut(x), inplace=True)


class SmallResNet(Backbone):
    """A stem of stride 2 and three residual blocks of stride 2 with 2, 4 and 6 times `width` channels.

    There is no block at the stem's resolution, because it would cost half as much as all others together.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        channels = [width * factor for factor in WIDTHS]
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        )
        inputs = [width, *channels[:-1]]
        self.blocks = nn.Sequential(*(ResidualBlock(i, o) for i, o in zip(inputs, channels, strict=True)))
        self.feature_size = channels[-1]

    def forward(self, images: Tensor) -> Tensor:
        return self.blocks(self.stem(images)).mean((2, 3))


def build(request: BackboneRequest) -> SmallResNet:
    """Build the net of a request: `small-resnet` has width 24, `small-resnet/16` has width 16.

    Raises UsageError for an invalid width or `--init hub`.
    """
    if isinstance(request.init, str):
        raise UsageError(f"small-resnet has no weights on a hub (--init {request.init}); name a file or omit --init")
    variant = request.variant or "24"
    if not (variant.isascii() and variant.isdecimal()) or int(variant) < 4:
        raise UsageError(f"small-resnet/{variant}: the width must be a whole number of at least 4; try small-resnet/24")
    net = SmallResNet(int(variant))
    if request.init is not None:
        net.init_match = load_weights(net, request.init)
    return net
