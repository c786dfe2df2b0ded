"""Notes what went through the nets in a step, outside of them: a net that counts would be recompiled at every call."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ferbench.contract.backbone import Network
from ferbench.contract.head import Output


class ForwardLog:
    """Notes every forward of a net and of its teacher since the last `clear`.

    For a forward of the net with gradient it also keeps the head's auxiliary loss and extras, unless the forward only
    probes the net.
    """

    def __init__(self, net: Network, teacher: Network) -> None:
        self._images: list[int] = []
        self._aux: list[tuple[Tensor, int]] = []
        self.extras: list[Mapping[str, Tensor]] = []
        self._watches = True
        net.register_forward_hook(self._of_net)
        teacher.register_forward_hook(self._of_teacher)

    @property
    def images(self) -> int:
        """How many images went through either net."""
        return sum(self._images)

    def clear(self) -> None:
        """Forget what was noted."""
        self._images, self._aux, self.extras = [], [], []

    def begin_loss(self) -> None:
        """Forget the auxiliary losses of the loss before."""
        self._aux = []

    def aux_loss(self) -> Tensor | None:
        """Mean over images of the auxiliary losses; None where the head has none.

        It is a mean, so that its weight does not depend on how many forwards the images are spread over.
        """
        if not self._aux:
            return None
        images = sum(count for _, count in self._aux)
        return torch.stack([loss * (count / images) for loss, count in self._aux]).sum()

    def __deepcopy__(self, memo: dict[int, Any]) -> "ForwardLog":
        # A method that copies its net copies the hooks too. Nobody would read or clear the notes of the copy.
        copied = object.__new__(ForwardLog)
        copied._watches = False
        return copied

    def _of_teacher(self, module: nn.Module, inputs: tuple[Tensor, ...], output: object) -> None:
        if self._watches:
            self._images.append(len(inputs[0]))

    def _of_net(self, module: Network, inputs: tuple[Tensor, ...], output: object) -> None:
        if not self._watches:
            return
        self._images.append(len(inputs[0]))
        if not (isinstance(output, Output) and torch.is_grad_enabled()) or module.probed:
            return
        if output.aux_loss is not None:
            self._aux.append((output.aux_loss, len(output.logits)))
        if output.extras:
            self.extras.append({name: value.detach() for name, value in output.extras.items()})
