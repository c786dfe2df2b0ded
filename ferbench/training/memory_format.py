"""How a net lies in memory: channels last, and on a CPU tiny feature maps computed as matrix products."""

from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ferbench.contract.backbone import Network

TINY_MAP = 4
"""Up to this many pixels a matrix product beats oneDNN's convolution: 66 ms against 157 for 64 maps of 512 x 2 x 2."""


class TinyMapConv2d(nn.Conv2d):
    """A convolution computed as unfolded patches times weights. It keeps the parameters of the one it replaces."""

    @classmethod
    def of(cls, conv: nn.Conv2d) -> "TinyMapConv2d":
        """The same convolution, sharing its parameters."""
        return _sharing(conv, cls).to(memory_format=torch.contiguous_format)

    def plain(self) -> nn.Conv2d:
        """The inverse of `of`."""
        return _sharing(self, nn.Conv2d)

    def forward(self, images: Tensor) -> Tensor:
        patches = F.unfold(images, self.kernel_size, padding=self.padding, stride=self.stride)  # type: ignore[arg-type]
        top, left = (int(pad) for pad in self.padding)
        (down, right), (rows, columns) = self.stride, self.kernel_size
        height = (images.shape[2] + 2 * top - rows) // down + 1
        width = (images.shape[3] + 2 * left - columns) // right + 1
        outputs = F.linear(patches.transpose(1, 2), self.weight.flatten(1), self.bias)
        return outputs.unflatten(1, (height, width)).permute(0, 3, 1, 2)


Convolution = TypeVar("Convolution", bound=nn.Conv2d)


def _sharing(conv: nn.Conv2d, kind: type[Convolution]) -> Convolution:
    size = conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding
    made = kind(*size, bias=conv.bias is not None, device="meta")  # type: ignore[arg-type]
    made.weight, made.bias = conv.weight, conv.bias
    return made


def lay_out(net: Network, device: torch.device, image_size: int) -> Network:
    """Move a net to its device in the layout that trains fastest there. Results stay the same up to rounding."""
    net = net.to(device).to(memory_format=torch.channels_last)
    if device.type == "cpu":
        for name in _tiny_convolutions(net, image_size):
            parent, _, last = name.rpartition(".")
            setattr(net.get_submodule(parent), last, TinyMapConv2d.of(net.get_submodule(name)))  # type: ignore[arg-type]
    return net


def plain_convolutions(net: Network) -> Network:
    """Replace each convolution that is computed as a matrix product by a plain one with the same parameters."""
    for name, module in list(net.named_modules()):
        if isinstance(module, TinyMapConv2d):
            parent, _, last = name.rpartition(".")
            setattr(net.get_submodule(parent), last, module.plain())
    return net


def _tiny_convolutions(net: Network, image_size: int) -> list[str]:
    """Names of the plain convolutions with at most `TINY_MAP` output pixels. One image is sent through to find them."""
    names: list[str] = []

    def watch(name: str, conv: nn.Conv2d) -> torch.utils.hooks.RemovableHandle:
        def look(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            if output.shape[2] * output.shape[3] <= TINY_MAP and name not in names:
                names.append(name)

        return conv.register_forward_hook(look)

    handles = [watch(name, module) for name, module in net.named_modules() if _is_plain(module)]
    training = net.training
    with torch.no_grad():
        net.eval().backbone(torch.zeros(1, 3, image_size, image_size, device="cpu"))
    net.train(training)
    for handle in handles:
        handle.remove()
    return names


def _is_plain(module: nn.Module) -> bool:
    return (
        type(module) is nn.Conv2d
        and module.groups == 1
        and module.dilation == (1, 1)
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
        and module.kernel_size != (1, 1)
        and isinstance(module.weight, nn.Parameter)  # weight norm makes it something else
        and not (module._forward_hooks or module._forward_pre_hooks)
    )
