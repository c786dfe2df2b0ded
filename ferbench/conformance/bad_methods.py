"""The methods of `bad_endings`."""

import os
import time

import torch.nn.functional as F

from ferbench.contract.batch import Batch, Losses, Views, weak
from ferbench.contract.method import Method


class Crashing(Method):
    """Aborts its process at the first step, like a fault in a library."""

    views = Views(labeled={"weak": weak()})

    def loss(self, batch: Batch) -> Losses:
        os.abort()


class Hanging(Method):
    """Has steps that take longer than any check."""

    views = Views(labeled={"weak": weak()})

    def loss(self, batch: Batch) -> Losses:
        time.sleep(10)
        labeled, _ = self.forward_views(batch)
        return Losses(F.cross_entropy(labeled.weak.logits, batch.labels))
