"""BitFit and LoRA: what of the initial weights changes, and how."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tests.support.numeric_step import INFO
from tests.support.stepping import Stepper

from ferbench.builtin.backbones.small_vit import build
from ferbench.conformance.toy_task import RECIPE, toy_training
from ferbench.contract.backbone import BackboneRequest, Network
from ferbench.contract.head import LinearHead
from ferbench.contract.method import Method
from ferbench.training.loop import train
from ferbench_ssl_baselines.bitfit import BitFit
from ferbench_ssl_baselines.lora import LoRA

SHORT = RECIPE.model_copy(update={"steps": 6, "evaluations": 1})


def trained(method: type[Method], folder: Path, **options: Any) -> tuple[Network, dict[str, torch.Tensor], set[str]]:
    """The net of a run, its state before it, and the names of the parameters that changed."""
    training = toy_training(method(method.Config.model_validate(options)), folder, recipe=SHORT)
    net = training.run.net
    before = {name: value.clone() for name, value in net.state_dict().items()}
    train(training)
    parameters = dict(net.named_parameters())
    return net, before, {name for name, p in parameters.items() if not torch.equal(p, before[name])}


def test_bitfit_changes_biases_and_the_head_alone(tmp_path: Path) -> None:
    net, _, changed = trained(BitFit, tmp_path)
    biases = {name for name, _ in net.named_parameters() if name.endswith("bias")}
    assert changed == biases | {"head.linear.weight"}
    assert {"backbone.stem.bias", "backbone.norm.bias"} < biases


def test_the_shifts_of_a_transformer_are_biases_and_its_embeddings_are_not() -> None:
    net = Network(build(BackboneRequest("", 16)), LinearHead(64, 3))
    BitFit(BitFit.Config()).setup(net, INFO)
    learn = {name.partition("model.")[2] for name, p in net.backbone.named_parameters() if p.requires_grad}
    assert {"blocks.0.attn.qkv.bias", "blocks.0.norm1.bias", "patch_embed.proj.bias", "fc_norm.bias"} <= learn
    assert "pos_embed" not in learn and not any(name.endswith("weight") for name in learn)


def test_lora_keeps_the_initial_weights_and_adds_a_product_of_low_rank(tmp_path: Path) -> None:
    net, before, changed = trained(LoRA, tmp_path, rank=2, alpha=6.0)
    assert changed == {
        *(f"backbone.{layer}.parametrizations.weight.0.{part}" for layer in ("stem", "conv") for part in "ab"),
        "head.linear.weight",
        "head.linear.bias",
    }
    statistics = "backbone.norm.running_mean"
    assert not torch.equal(net.state_dict()[statistics], before[statistics])
    for name in ("stem", "conv"):
        layer: Any = getattr(net.backbone, name)
        initial = before[f"backbone.{name}.parametrizations.weight.original"]
        low = layer.parametrizations.weight[0]
        change = layer.weight - initial
        expected = torch.einsum("or,ri->oi", low.b, low.a) * 3
        torch.testing.assert_close(change.flatten(1), expected)
        assert torch.linalg.matrix_rank(change.flatten(1)) == 2
        assert not before[f"backbone.{name}.parametrizations.weight.0.b"].any()


def test_at_first_lora_changes_nothing_and_adapts_every_layer() -> None:
    torch.manual_seed(0)
    net, images = Network(build(BackboneRequest("", 16)), LinearHead(64, 3)).eval(), torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        before = net(images).logits
        LoRA(LoRA.Config()).setup(net, INFO)
        torch.testing.assert_close(net(images).logits, before)
    adapted = {name.rpartition(".parametrizations")[0] for name, _ in net.named_parameters() if name.endswith(".0.a")}
    layers = {n for n, m in net.backbone.named_modules() if isinstance(m, torch.nn.Linear | torch.nn.Conv2d)}
    assert adapted == {f"backbone.{name}" for name in layers} and len(layers) == 1 + 4 * 4
    drawn = dict(net.named_parameters())["backbone.model.blocks.0.mlp.fc2.parametrizations.weight.0.a"]
    assert float(drawn.detach().std()) == pytest.approx(drawn.shape[1] ** -0.5, rel=0.1)


@pytest.mark.parametrize("method", [BitFit, LoRA])
@pytest.mark.parametrize("view", ["weak", "strong"])
def test_they_learn_from_labels_alone(method: type[Method], view: str) -> None:
    made = method(method.Config.model_validate(method.variants[view]))
    (stage,) = made.stages()
    assert stage.views.unlabeled is None and stage.views.labeled["train"].kind == view
    assert "init" in made.requires and not made.uses_unlabeled


def test_a_step_of_bitfit_is_the_gradient_of_the_cross_entropy(tmp_path: Path) -> None:
    training = toy_training(BitFit(BitFit.Config()), tmp_path)
    net, method = training.run.net.train(), training.run.method
    batch = Stepper(training).batch(0)
    bias = net.backbone.norm.bias
    expected = torch.autograd.grad(F.cross_entropy(net(batch.labeled.images["train"]).logits, batch.labels), bias)[0]
    method.loss(batch).total.backward()
    torch.testing.assert_close(bias.grad, expected)
    assert net.backbone.norm.weight.grad is None
