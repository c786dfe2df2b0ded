"""The loss against FixMatch's formula under the thresholds of the step."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from ferbench.contract.batch import Batch, ForwardedViews, MethodInfo, NamedOutputs, ViewSet
from ferbench.contract.head import Output
from ferbench_dtm.method import Dtm

INFO = MethodInfo(("neutral", "happiness", "sadness"), (6, 3, 1), 10, 40, steps=40, steps_per_epoch=2, feature_size=4)


def dtm(**options: Any) -> Dtm:
    method = Dtm(Dtm.Config.model_validate(options))
    method.setup(None, INFO)  # type: ignore[arg-type]
    return method


def step(method: Dtm) -> tuple[Any, dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    logits = {name: 2 * torch.randn(32, 3, generator=generator) for name in ("labeled", "weak", "strong")}
    outputs = {name: Output(value, value) for name, value in logits.items()}
    unlabeled = NamedOutputs({name: outputs[name] for name in ("weak", "strong")})
    forwarded = ForwardedViews(NamedOutputs({"weak": outputs["labeled"]}), unlabeled)
    method.forward_views = lambda batch: forwarded  # type: ignore[method-assign, assignment]
    logits["labels"], nothing = torch.arange(32) % 3, torch.zeros(())
    places = ViewSet({}, torch.arange(32), {})
    return method.loss(Batch(None, places, logits["labels"], nothing, nothing, nothing, nothing)), logits  # type: ignore[arg-type]


def test_the_loss_is_fixmatchs_under_the_thresholds_of_the_step() -> None:
    method = dtm(align=False, momentum=0.0, ceiling=0.8)
    losses, logits = step(method)
    prediction = logits["weak"].softmax(-1)
    confidence, pseudo_label = prediction.max(-1)
    kept = [bool(c >= method.thresholds.threshold[p]) for c, p in zip(confidence, pseudo_label, strict=True)]
    assert 0 < sum(kept) < 32
    assert losses.mask.tolist() == kept
    terms = [F.cross_entropy(logits["strong"][i], pseudo_label[i]) for i in range(32) if kept[i]]
    expected = F.cross_entropy(logits["labeled"], logits["labels"]) + torch.stack(terms).sum() / 32
    torch.testing.assert_close(losses.total, expected)


def test_alignment_moves_predictions_to_the_labeled_proportions() -> None:
    method = dtm(align_momentum=0.0)
    prediction = torch.tensor([[0.4, 0.3, 0.3], [0.2, 0.2, 0.6]])
    scaled = prediction * torch.tensor([0.6, 0.3, 0.1]) / prediction.mean(0)
    torch.testing.assert_close(method.align(prediction), scaled / scaled.sum(1, keepdim=True))


def test_labeled_images_are_drawn_balanced_unless_asked_otherwise() -> None:
    assert [dtm(balanced=wanted).stages()[0].sampler for wanted in (True, False)] == ["balanced", "uniform"]


@pytest.mark.parametrize(
    ("schedule", "needed"),
    [("learning-status", {"pool_index"}), ("class-confidence", set()), ("labeled-confidence", set())],
)
def test_only_the_learning_status_needs_places_in_a_pool(schedule: str, needed: set[str]) -> None:
    assert dtm(schedule=schedule).requires == needed
