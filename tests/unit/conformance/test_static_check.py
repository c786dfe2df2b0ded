"""A loss that waits for the device fails the check; the built-in methods pass it."""

import pytest
import torch
import torch.nn.functional as F

from ferbench.builtin.methods.fixmatch import FixMatch
from ferbench.builtin.methods.supervised import Supervised
from ferbench.conformance.static_check import check_static
from ferbench.conformance.toy_task import INFO
from ferbench.contract.batch import Batch, Losses, Views, weak
from ferbench.contract.method import Method, MethodConfig
from ferbench.errors import PluginError
from tests.support.refusals import refused


class Base(Method):
    """A supervised loss with one more line."""

    views = Views(labeled={"weak": weak()}, unlabeled={"weak": weak()})

    def extra(self, logits: torch.Tensor) -> object:
        raise NotImplementedError

    def loss(self, batch: Batch) -> Losses:
        out = self.forward_views(batch)
        self.extra(out.unlabeled.weak.logits)
        return Losses(F.cross_entropy(out.labeled.weak.logits, batch.labels))


class Item(Base):
    def extra(self, logits: torch.Tensor) -> object:
        return logits.max().item()


class Cpu(Base):
    def extra(self, logits: torch.Tensor) -> object:
        return logits.cpu()


class List(Base):
    def extra(self, logits: torch.Tensor) -> object:
        return logits.tolist()


class If(Base):
    def extra(self, logits: torch.Tensor) -> object:
        return 1 if logits.max() > 0 else 0


class BooleanMask(Base):
    def extra(self, logits: torch.Tensor) -> object:
        return logits[logits.max(1).values > 0.5]


class Drawing(Base):
    def extra(self, logits: torch.Tensor) -> object:
        noise = torch.rand(len(logits), generator=self.random, device=logits.device)
        return logits * noise.unsqueeze(1), torch.arange(len(logits))


@pytest.mark.parametrize("method", [Item, Cpu, List, If, BooleanMask])
def test_a_loss_that_waits_is_refused(method: type[Method]) -> None:
    with refused(PluginError, method.__name__, "'train'", "torch.where"):
        check_static(method, MethodConfig(), INFO)


def test_drawing_from_the_methods_generator_is_allowed() -> None:
    check_static(Drawing, MethodConfig(), INFO)


@pytest.mark.parametrize(
    ("method", "options"),
    [(Supervised, {}), (Supervised, {"view": "strong"}), (FixMatch, {}), (FixMatch, {"align": True})],
)
def test_built_in_methods_never_wait(method: type[Method], options: dict[str, object]) -> None:
    check_static(method, method.Config.model_validate(options), INFO)
