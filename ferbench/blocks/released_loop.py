"""The training loop of Ada-CM's released code, which the code of LEAF and SSL-DTM also uses."""

import torch
from pydantic import Field
from torch import Tensor, nn

from ferbench.contract.batch import PoolPredictions
from ferbench.contract.method import MethodConfig
from ferbench.contract.optimizer import OptimizerSettings
from ferbench.contract.stage import EpochContext


class ReleasedLoop(MethodConfig):
    """Options for methods whose released code uses this loop; the defaults follow the papers instead."""

    augmented_statistics: bool = Field(
        False,
        description="after an epoch, learn margins or thresholds from weak views, without the last incomplete batch",
    )
    separate_forwards: bool = Field(False, description="use four forwards, each with its own BatchNorm statistics")
    state_decay: float = Field(
        0.0,
        ge=0,
        description="decay all float state, also BatchNorm's, by this times the learning rate; replaces weight decay",
    )

    @property
    def joint_forward(self) -> bool | None:
        """The value for `Method.joint_forward`."""
        return False if self.separate_forwards else None

    @property
    def optimizer(self) -> OptimizerSettings | None:
        """The settings for `Stage.optimizer`."""
        source = "the method's released code, which decays all state by hand, as Ada-CM's does"
        return OptimizerSettings(weight_decay=0.0, source=source) if self.state_decay else None

    def labeled_pass(self, context: EpochContext) -> PoolPredictions:
        """Run the teacher's pass over the labeled images, from which margins are learned."""
        augmented = self.augmented_statistics
        return context.predict("labeled", view="weak" if augmented else "plain", drop_last=augmented)

    def after_step(self, net: nn.Module, learning_rate: Tensor) -> None:
        """Decay the state of the net, if `state_decay` is set."""
        if self.state_decay:
            decay_state(net, self.state_decay * learning_rate)


@torch.no_grad()
def decay_state(module: nn.Module, rate: Tensor) -> None:
    """Multiply all floating-point state by 1 - rate (a scalar tensor), including BatchNorm's running statistics.

    This differs from weight decay, which does not change the statistics.
    """
    state = [value for value in module.state_dict().values() if value.is_floating_point()]
    torch._foreach_mul_(state, 1 - rate)
