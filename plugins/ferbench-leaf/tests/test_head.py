"""LEAF's levels: experts that differ, gates that learn, loads that are balanced."""

import pytest
import torch

from ferbench_leaf.head import ExpertMixture, LeafHead, expected_load, unevenness

FEATURES = torch.randn(32, 16, generator=torch.Generator().manual_seed(0))


def mixture(**options: int | bool) -> ExpertMixture:
    torch.manual_seed(1)
    made = ExpertMixture(16, **{"experts": 8, "top_k": 2, "shared": False, **options})  # type: ignore[arg-type]
    torch.nn.init.normal_(made.gate)
    torch.nn.init.normal_(made.noise, std=0.1)
    return made


def test_the_mixture_is_the_gated_sum_of_its_experts() -> None:
    made = mixture().eval()
    mixed, gates, _ = made(FEATURES)
    for row in range(4):
        scores = FEATURES[row] @ made.gate
        best = sorted(range(8), key=lambda e: -scores[e].item())[:2]
        shares = scores[best].softmax(0)
        expected = sum(
            share * (FEATURES[row] + made.experts[e](FEATURES[row])) for share, e in zip(shares, best, strict=True)
        )
        torch.testing.assert_close(mixed[row], expected)
        assert gates[row].nonzero().flatten().tolist() == sorted(best)
    torch.testing.assert_close(gates.sum(1), torch.ones(32))


def test_described_experts_are_distinct_and_gates_learn() -> None:
    made = mixture()
    assert len({id(expert) for expert in made.experts}) == 8
    assert not torch.equal(made.experts[0][0].weight, made.experts[1][0].weight)  # type: ignore[index, union-attr]
    made(FEATURES)[0].square().sum().backward()
    assert made.gate.grad is not None and made.gate.grad.abs().sum() > 0


def test_released_experts_are_one_and_gates_are_inert() -> None:
    made = mixture(top_k=1, shared=True)
    assert len(made.experts) == 1
    mixed, gates, _ = made(FEATURES)
    torch.testing.assert_close(mixed, FEATURES + made.experts[0](FEATURES))
    assert (gates.sum(1) == 1).all()
    mixed.square().sum().backward()
    assert made.gate.grad is None or not made.gate.grad.any()


def chosen(logits: torch.Tensor, top_k: int) -> torch.Tensor:
    return logits >= logits.topk(top_k).values[:, -1:]


def test_the_expected_load_is_how_often_new_noise_would_choose_an_expert() -> None:
    """Against the noise drawn anew, expert by expert, 20,000 times."""
    generator = torch.Generator().manual_seed(3)
    clean = torch.randn(1, 6, generator=generator)
    std = 0.2 + torch.rand(1, 6, generator=generator)
    noisy = clean + std * torch.randn(1, 6, generator=generator)
    load = expected_load(clean, noisy, std, chosen(noisy, 2))
    for expert in range(6):
        others = torch.cat([noisy[0, :expert], noisy[0, expert + 1 :]])
        redrawn = clean[0, expert] + std[0, expert] * torch.randn(20_000, generator=generator)
        share = (redrawn > others.topk(2).values[-1]).float().mean()
        assert load[expert].item() == pytest.approx(share.item(), abs=0.015)


def test_balanced_amounts_are_even() -> None:
    assert unevenness(torch.full((8,), 4.0)).item() == 0
    assert unevenness(torch.tensor([4.0, 0.0])).item() == pytest.approx(2.0)  # variance 8, mean 2
    assert unevenness(torch.ones(1)).item() == 0
    load = expected_load(torch.randn(5, 3), torch.randn(5, 3), torch.ones(5, 3), torch.ones(5, 3, dtype=torch.bool))
    assert load.tolist() == [5, 5, 5]


@pytest.mark.parametrize(
    ("options", "levels", "shown"),
    [
        ({}, ["semantic", "instance"], {"gates", "relevant_share"}),
        ({"semantic": False}, ["instance"], {"gates", "relevant_share"}),
        ({"instance": False}, ["semantic"], {"gates", "relevant_share"}),
        ({"semantic": False, "instance": False}, [], set()),
        ({"decoupled": False}, ["semantic", "instance"], {"gates"}),
    ],
)
def test_each_level_can_be_left_out(options: dict[str, bool], levels: list[str], shown: set[str]) -> None:
    head = LeafHead(16, 7, **options).train()  # type: ignore[arg-type]
    output = head(FEATURES)
    assert output.logits.shape == (32, 7)
    torch.testing.assert_close(output.features.norm(dim=1), torch.ones(32))
    assert set(output.extras) == {f"{level}_{key}" for level in levels for key in shown}
    assert (output.aux_loss is None) == (not levels)
    (output.logits.sum() + (output.aux_loss or 0)).backward()
    assert all(p.grad is not None for p in head.parameters())


def test_the_two_levels_gate_features_and_images() -> None:
    head = LeafHead(16, 7)
    assert head.levels["semantic"].fusion.out_features == 16  # type: ignore[union-attr]
    assert head.levels["instance"].fusion.out_features == 1  # type: ignore[union-attr]


def test_no_load_is_balanced_where_no_weight_is_given() -> None:
    assert LeafHead(16, 7, balance_weight=0.0)(FEATURES).aux_loss is None
