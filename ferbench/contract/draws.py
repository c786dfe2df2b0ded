"""Random numbers for several processes: each process draws the same numbers and keeps its part."""

import math

import torch
from torch import Tensor

PROPOSALS = 8
"""Proposals per gamma variate; each is accepted with probability 0.95 or more, so all fail once in 10^10."""


def beta(size: tuple[int, ...], a: float, b: float, generator: torch.Generator, device: torch.device) -> Tensor:
    """Draw numbers from Beta(a, b), a and b above 0, float32 in 0..1; the generator must be on the device.

    It uses `normal_` and `uniform_`, because torch's gamma takes no generator. The number of draws is fixed, so that
    nothing waits for the device. Raises ValueError if a or b is not above 0.
    """
    if not (a > 0 and b > 0):
        raise ValueError(f"beta: a and b must be above 0, not {a} and {b}")
    return torch.sigmoid(_log_gamma(size, a, generator, device) - _log_gamma(size, b, generator, device))


def permutation(count: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """Draw a random order of 0 .. count - 1, int64; by comparisons, because sorting would wait for the device."""
    keys = torch.empty(count, device=device).uniform_(generator=generator)
    mine, other = keys.unsqueeze(1), keys.unsqueeze(0)
    before = torch.ones(count, count, dtype=torch.bool, device=keys.device).tril(-1)
    return ((other < mine) | ((other == mine) & before)).sum(1)


def _log_gamma(size: tuple[int, ...], shape: float, generator: torch.Generator, device: torch.device) -> Tensor:
    """Logarithms of Gamma(shape, 1) by Marsaglia and Tsang (2000); a shape below 1 uses shape + 1 (their note)."""
    lifted = shape if shape >= 1 else shape + 1
    d = lifted - 1 / 3
    x = torch.empty((PROPOSALS, *size), device=device).normal_(generator=generator)
    u = torch.empty_like(x).uniform_(generator=generator)
    v = (1 + x / (9 * d) ** 0.5) ** 3
    log_v = v.clamp_min(1e-30).log()
    accepted = (v > 0) & (u.log() < 0.5 * x.square() + d - d * v + d * log_v)
    # Select the first accepted proposal without indexing: go backwards, and earlier ones replace later ones.
    found = log_v[-1]
    for k in reversed(range(PROPOSALS)):
        found = torch.where(accepted[k], log_v[k], found)
    drawn: Tensor = found + math.log(d)
    if shape < 1:
        drawn = drawn + torch.empty(size, device=device).uniform_(generator=generator).clamp_min(1e-38).log() / shape
    return drawn
