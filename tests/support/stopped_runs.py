"""Runs that are stopped from outside, as by Ctrl-C."""

import pytest

from ferbench.errors import FerbenchError
from ferbench.training.loop import Training, train
from ferbench.training.run import Stop


def stop_after(steps: int) -> Stop:
    """What stops a run once it has taken so many steps."""
    taken = 0

    def stop() -> FerbenchError | None:
        nonlocal taken
        taken += 1
        return FerbenchError("stop") if taken == steps else None

    return stop


def train_until_stopped(training: Training, steps: int) -> Training:
    """Train until so many steps are taken; checkpoints of the epochs and of the end are on disk."""
    training.stop = stop_after(steps)
    with pytest.raises(FerbenchError, match="stop"):
        train(training)
    return training
