"""Watch the losses of a run: do they satisfy the contract, and do pseudo-labels train as the method reports?"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ferbench.contract.batch import Batch, Losses
from ferbench.contract.head import Output
from ferbench.errors import PluginError
from ferbench.training.loop import Training
from ferbench.training.losses import check_losses

EVERY = 3  # steps
USED = 0.5  # an image with a larger mask counts as used for training


@dataclass
class _Forward:
    """Images that went through the net with gradient, and the output."""

    images: Tensor
    output: Output


class LossWatch:
    """Wraps a stage's loss for the engine; `fault` describes the first breach of the contract of `Losses`."""

    def __init__(self, variant: str) -> None:
        self.variant = variant
        self.fault = ""
        self.counts: Counter[str] = Counter()
        self._calls = 0
        self._forwards: list[_Forward] = []
        self._hooked: nn.Module | None = None

    def __call__(self, loss: Callable[[Batch], Losses], batch: Batch, training: Training) -> Losses:
        if self._hooked is None:
            self._hooked = training.run.net
            self._hooked.register_forward_hook(self._note)
        self._calls += 1
        self._forwards = []
        before = _values(batch)
        losses = loss(batch)
        try:
            check_losses(losses, batch, training.run.method, training.stages[training.progress.stage].stage)
            check_values(losses, training.run.info.n_classes)
            for name, value in _values(batch).items():
                assert torch.equal(value, before[name]), f"the loss changes batch.{name} in place"
        except (AssertionError, PluginError) as error:
            self.fault = self.fault or f"variant '{self.variant}': {error}"
            return losses
        if self._calls % EVERY == 0 and losses.pseudo_label is not None and batch.unlabeled is not None:
            self._compare(losses, batch)
        return losses

    def verdict(self) -> str:
        """Return a summary of the gradients; raises AssertionError if they contradict masks or pseudo-labels."""
        seen, where = self.counts, f"variant '{self.variant}': "
        if not seen["images"]:
            return f"{self.variant}: no pseudo-labels"
        assert 2 * seen["used without gradient"] <= seen["used"] or not seen["used"], (
            f"{where}{seen['used without gradient']} of {seen['used']} images with a mask above {USED} do "
            "not train: the total has no gradient with respect to the net's output for them"
        )
        assert 2 * seen["other label"] <= seen["by label"] or not seen["by label"], (
            f"{where}{seen['other label']} of {seen['by label']} images train with a different label than reported"
        )
        assert 2 * seen["unused by label"] <= seen["unused"] or not seen["unused"], (
            f"{where}{seen['unused by label']} of {seen['unused']} images with mask 0 train with their pseudo-label"
        )
        return f"{self.variant}: {seen['used']} of {seen['images']} used"

    def _note(self, module: nn.Module, inputs: tuple[Tensor, ...], output: object) -> None:
        if isinstance(output, Output) and output.logits.requires_grad:
            self._forwards.append(_Forward(inputs[0], output))

    def _compare(self, losses: Losses, batch: Batch) -> None:
        assert losses.pseudo_label is not None and losses.mask is not None and batch.unlabeled is not None
        rows = defaultdict(list)
        for image, *row in self._rows(losses.total, batch.unlabeled.images):
            rows[image].append(row)
        for image, of_image in rows.items():
            self._judge(of_image, int(losses.pseudo_label[image]), float(losses.mask[image]))

    def _judge(self, rows: list[list[Tensor]], label: int, mask: float) -> None:
        """Count one image; `rows` has its probabilities, and the gradients of its logits and features."""
        seen = self.counts
        trained_by = {by for p, logits, _ in rows if (by := hard_label(p, logits)) is not None}
        seen["images"] += 1
        if mask > USED:
            seen["used"] += 1
            seen["used without gradient"] += not any(bool(g.any() or f.any()) for _, g, f in rows)
            seen["by label"] += bool(trained_by)
            seen["other label"] += bool(trained_by) and label not in trained_by
        elif mask == 0:
            seen["unused"] += 1
            seen["unused by label"] += label in trained_by

    def _rows(self, total: Tensor, views: Mapping[str, Tensor]) -> Iterator[tuple[int, Tensor, Tensor, Tensor]]:
        """Yield the rows of the net's outputs that belong to unchanged unlabeled images, with the total's gradients."""
        number = {row.tobytes(): i for images in views.values() for i, row in enumerate(images.numpy())}
        given = [t for f in self._forwards for t in (f.output.logits, f.output.features)]
        if not given:
            return
        wanted = [t for t in given if t.requires_grad]
        found = iter(torch.autograd.grad(total, wanted, retain_graph=True, allow_unused=True))
        gradients = iter([next(found) if t.requires_grad else None for t in given])
        for forward in self._forwards:
            output = forward.output
            logits, features = next(gradients), next(gradients)
            for row, image in enumerate(forward.images.detach().numpy()):
                if (index := number.get(image.tobytes())) is not None:
                    yield (
                        index,
                        output.probabilities[row].detach(),
                        _row(logits, output.logits, row),
                        _row(features, output.features, row),
                    )


def hard_label(probabilities: Tensor, gradient: Tensor) -> int | None:
    """Return y if a gradient of logits is w * (probabilities - onehot(y)), as for cross-entropy with y; else None."""
    label = int(gradient.argmin())
    others = torch.arange(len(gradient)) != label
    ratios = gradient[others] / probabilities[others]
    pulls = float(gradient[label]) < -1e-7 and float(ratios.min()) > 0
    return label if pulls and float(ratios.max()) <= 1.001 * float(ratios.min()) else None


def check_values(losses: Losses, n_classes: int) -> None:
    """Raise AssertionError for wrong values or gradients, which the engine cannot check without waiting."""
    for name, term in {"total": losses.total, **losses.terms}.items():
        assert bool(term.isfinite()), f"term '{name}' is {float(term)}"
    assert losses.total.requires_grad, "the total has no gradient: it does not depend on the net's output"
    if losses.pseudo_label is None or losses.mask is None:
        return
    labels, mask = losses.pseudo_label, losses.mask
    assert 0 <= int(labels.min()) <= int(labels.max()) < n_classes, (
        f"pseudo_label has values outside 0..{n_classes - 1}"
    )
    assert 0 <= float(mask.min()) <= float(mask.max()) <= 1, "mask has values outside 0..1"


def _row(gradient: Tensor | None, of: Tensor, row: int) -> Tensor:
    return torch.zeros_like(of[row]) if gradient is None else gradient[row]


def _values(batch: Batch) -> dict[str, Tensor]:
    """Return copies of a batch's tensors, by name."""
    values = {"labels": batch.labels, "label_probs": batch.label_probs}
    for role, drawn in (("labeled", batch.labeled), ("unlabeled", batch.unlabeled)):
        if drawn is not None:
            values |= {f"{role}.{name}": images for name, images in drawn.images.items()}
            values[f"{role}.index"] = drawn.index
    return {name: value.clone() for name, value in values.items()}
