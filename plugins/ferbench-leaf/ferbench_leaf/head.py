"""LEAF's semantic and instance levels as a head: `--head leaf` uses it with any method."""

from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from ferbench.contract.head import Head, Output
from ferbench.contract.method import MethodConfig

LEAST_NOISE = 0.01
FAR = 1e9  # larger than any logit


class ExpertMixture(nn.Module):
    """Noisy top-k gating (Shazeer et al., ICLR 2017, Eqs. 3 to 5) over residual experts x + MLP(x).

    Maps features (B, D) to the mixture (B, D), the gates (B, E) and the load-balancing loss (Eqs. 6 to 11), a scalar.
    In each row the gates sum to 1 and k of them are not 0 (more if logits are equal). `shared` uses one expert for all.
    """

    def __init__(self, size: int, experts: int, top_k: int, shared: bool) -> None:
        super().__init__()
        self.top_k = top_k
        self.experts = nn.ModuleList(residual_mlp(size) for _ in range(1 if shared else experts))
        self.gate = nn.Parameter(torch.zeros(size, experts))
        self.noise = nn.Parameter(torch.zeros(size, experts))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        clean = (features @ self.gate).float()
        std = F.softplus((features @ self.noise).float()) + LEAST_NOISE
        noisy = clean + torch.randn_like(clean) * std if self.training else clean
        chosen = noisy >= noisy.detach().topk(self.top_k).values[:, -1:]
        gates = noisy.masked_fill(~chosen, -FAR).softmax(-1)
        change = torch.stack([expert(features) for expert in self.experts], 1)  # (B, E or 1, D)
        mixed = features + (gates.unsqueeze(-1) * change).sum(1)
        balance = unevenness(gates.sum(0)) + unevenness(expected_load(clean, noisy, std, chosen))
        return mixed, gates, balance


class Level(nn.Module):
    """Fuses relevant features, from experts that gates choose per image, with agnostic ones, from one common expert.

    The fusion gate has one value per feature at the semantic level, and one per image at the instance level. Without
    `decoupled` there is no agnostic part, as in the released code.
    """

    def __init__(self, mixture: ExpertMixture, size: int, gates: int, decoupled: bool) -> None:
        super().__init__()
        self.relevant = mixture
        self.agnostic = residual_mlp(size) if decoupled else None
        self.fusion = nn.Linear(2 * size, gates) if decoupled else None

    def forward(self, features: Tensor) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        relevant, gates, balance = self.relevant(features)
        if self.agnostic is None or self.fusion is None:
            return relevant, {"gates": gates}, balance
        agnostic = features + self.agnostic(features)
        share = self.fusion(torch.cat([relevant, agnostic], -1)).sigmoid()
        fused = share * relevant + (1 - share) * agnostic
        return fused, {"gates": gates, "relevant_share": share.mean(-1)}, balance


class HeadOptions(MethodConfig):
    """Options of LEAF's head."""

    dropout: float = Field(0.5, ge=0, lt=1, description="dropout on the features")
    semantic: bool = Field(True, description="use the semantic level: gates per feature")
    instance: bool = Field(True, description="use the instance level: gates per image")
    decoupled: bool = Field(True, description="fuse expression-relevant with expression-agnostic features")
    experts: int = Field(8, ge=1, description="number of experts of each level")
    top_k: int = Field(2, ge=1, description="number of experts per image; gates learn only if it is at least 2")
    balance_weight: float = Field(0.01, ge=0, description="weight of the load-balancing loss")

    @model_validator(mode="after")
    def _enough_experts(self) -> "HeadOptions":
        if self.top_k > self.experts:
            raise ValueError(f"top_k {self.top_k} must be at most the number of experts, {self.experts}")
        return self


class LeafHead(Head):
    """Dropout, semantic level, L2 norm, instance level, one linear layer (LEAF, arXiv 2404.15041).

    The paper's equations are not public: the levels are reconstructed from its abstract and the released code (see this
    plugin's README). `features` are the unit vectors between the levels; `options` are those of `HeadOptions`.
    """

    def __init__(self, feature_size: int, n_classes: int, *, shared_experts: bool = False, **options: Any) -> None:
        super().__init__(feature_size, n_classes)
        c = HeadOptions.model_validate(options)
        self.dropout = nn.Dropout(c.dropout)
        self.linear = nn.Linear(feature_size, n_classes)
        self.balance_weight = c.balance_weight
        self.levels = nn.ModuleDict()
        for name, wanted, gates in (("semantic", c.semantic, feature_size), ("instance", c.instance, 1)):
            if wanted:
                mixture = ExpertMixture(feature_size, c.experts, c.top_k, shared_experts)
                self.levels[name] = Level(mixture, feature_size, gates, c.decoupled)

    def forward(self, features: Tensor) -> Output:
        extras: dict[str, Tensor] = {}
        balances: list[Tensor] = []
        semantic = self._level("semantic", self.dropout(features), extras, balances)
        unit = F.normalize(semantic)
        logits = self.linear(self._level("instance", unit, extras, balances))
        aux = self.balance_weight * torch.stack(balances).sum() if balances and self.balance_weight else None
        return Output(logits, unit, aux, extras)

    def _level(self, name: str, features: Tensor, extras: dict[str, Tensor], balances: list[Tensor]) -> Tensor:
        if name not in self.levels:
            return features
        fused, shown, balance = self.levels[name](features)
        extras.update({f"{name}_{key}": value for key, value in shown.items()})
        balances.append(balance)
        return fused


def residual_mlp(size: int) -> nn.Module:
    """Return the MLP whose output an expert adds to its features (512 to 256 to 512 in the released code)."""
    return nn.Sequential(nn.Linear(size, size // 2), nn.ReLU(), nn.Linear(size // 2, size))


def expected_load(clean: Tensor, noisy: Tensor, std: Tensor, chosen: Tensor) -> Tensor:
    """Return the expected number of images per expert, (E,), over new noise draws (Shazeer et al., Eqs. 8 to 10)."""
    last_in = noisy.masked_fill(~chosen, FAR).amin(-1, keepdim=True)
    first_out = noisy.masked_fill(chosen, -FAR).amax(-1, keepdim=True)
    rival = torch.where(chosen, first_out, last_in)
    return torch.special.ndtr((clean - rival) / std).sum(0)


def unevenness(amounts: Tensor) -> Tensor:
    """Return the squared coefficient of variation of amounts per expert."""
    return amounts.var() / (amounts.mean().square() + 1e-10) if len(amounts) > 1 else amounts.new_zeros(())
