"""What happened in an epoch, accumulated on the device and read once."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ferbench.contract.batch import Losses
from ferbench.errors import FerbenchError, PluginError

NEVER = 2**62


class DivergedError(FerbenchError):
    """A loss stopped being finite."""

    def __init__(self, step: int, term: str) -> None:
        super().__init__(
            f"loss term '{term}' is not finite at step {step}; lower the learning rate or the term's weight"
        )
        self.step, self.term = step, term


class EpochStats:
    """Sums of loss terms and pseudo-label counts; `state` is what a checkpoint in mid-epoch keeps.

    Everything stays on the device until `read`, so that a step never waits.
    """

    def __init__(self, n_classes: int, device: torch.device) -> None:
        self.n_classes, self.device = n_classes, device
        self.state: dict[str, Tensor] = {}

    @torch.no_grad()
    def add(self, step: int, total: Tensor, losses: Losses, truth: Tensor | None) -> None:
        """One step's losses; `truth` (B,) int64 are the labels of the unlabeled images, -1 where unknown."""
        self._sum("steps", torch.ones((), device=self.device))
        for name, value in {"loss": total, **losses.terms}.items():
            value = value.detach().float()
            self._sum(f"term.{name}", value)
            if f"bad.{name}" not in self.state:
                self.state[f"bad.{name}"] = torch.full((), NEVER, device=self.device)
            bad = self.state[f"bad.{name}"]
            bad.copy_(torch.where(value.isfinite(), bad, bad.clamp(max=step)))
        if losses.pseudo_label is not None and losses.mask is not None and truth is not None:
            self._count_pseudo_labels(losses.pseudo_label, losses.mask.float(), truth)

    @torch.no_grad()
    def add_extras(self, extras: Sequence[Mapping[str, Tensor]]) -> None:
        """What heads have to show of one step's forwards, each entry with one row per image."""
        for name, value in (item for forward in extras for item in forward.items()):
            self._sum(f"extra.{name}", value.float().sum(0))
            self._sum(f"images.{name}", torch.full((), float(len(value)), device=self.device))

    def _count_pseudo_labels(self, pseudo_label: Tensor, mask: Tensor, truth: Tensor) -> None:
        # By comparison, since one_hot scatters, which waits for a GPU in deterministic mode; truth -1 is no class.
        classes = torch.arange(self.n_classes, device=mask.device)
        predicted, true = ((labels.unsqueeze(1) == classes).float() for labels in (pseudo_label, truth))
        self._sum("unlabeled", torch.full((), float(len(mask)), device=self.device))
        self._sum("pseudo_label", predicted.sum(0))
        self._sum("masked", (predicted * mask.unsqueeze(1)).sum(0))
        self._sum("confusion", true.T @ predicted)
        self._sum("masked_confusion", true.T @ (predicted * mask.unsqueeze(1)))

    def _sum(self, name: str, value: Tensor) -> None:
        if name in self.state:
            self.state[name] += value
        else:
            self.state[name] = value.clone()

    def first_bad(self) -> tuple[int, str] | None:
        """The first step with a loss that was not finite, and the term it began with; None if all were."""
        bad = [(int(value), name.removeprefix("bad.")) for name, value in self.state.items() if name.startswith("bad.")]
        # A term that is not finite makes the total so in the same step: name the term, not the total.
        step, _, name = min(((s, n == "loss", n) for s, n in bad), default=(NEVER, False, ""))
        return (step, name) if step < NEVER else None

    def check_finite(self) -> None:
        """Raise DivergedError if a loss was not finite; reading it waits for the device."""
        if (bad := self.first_bad()) is not None:
            raise DivergedError(*bad)

    def average(self, mean: Callable[[Tensor], Tensor]) -> None:
        """Make the sums those of an average process; where a loss was not finite stays this process's own."""
        for name in sorted(self.state):
            if not name.startswith("bad."):
                self.state[name] = mean(self.state[name])

    def read(self) -> dict[str, Any]:
        """The epoch's row as JSON values, and empty statistics for the next."""
        state = {name: value.double().cpu() for name, value in self.state.items()}
        self.state = {}
        steps = float(state["steps"])
        terms = {n.removeprefix("term."): float(v) / steps for n, v in state.items() if n.startswith("term.")}
        row: dict[str, Any] = {"loss": terms.pop("loss"), "terms": terms}
        extras = [name.removeprefix("extra.") for name in state if name.startswith("extra.")]
        if extras:
            row["head"] = {name: _finite_mean(state, name) for name in extras}
        return row | _pseudo_label_row(state) if "unlabeled" in state else row


def _finite_mean(state: dict[str, Tensor], name: str) -> Any:
    mean = state[f"extra.{name}"] / state[f"images.{name}"]
    if not bool(mean.isfinite().all()):
        raise PluginError(f"the head's extra '{name}' is not finite; use 0 or leave it out")
    return mean.tolist()


def _pseudo_label_row(state: dict[str, Tensor]) -> dict[str, Any]:
    masked, predicted = state["masked"], state["pseudo_label"]
    right, known = state["masked_confusion"].diagonal(), state["masked_confusion"].sum(0)
    return {
        "mask_rate": float(masked.sum() / state["unlabeled"]),
        "mask_rate_per_class": _ratios(masked, predicted),
        "pseudo_label_precision": _ratio(right.sum(), known.sum()),
        "pseudo_label_precision_per_class": _ratios(right, known),
        "pseudo_label_accuracy": _ratio(state["confusion"].diagonal().sum(), state["confusion"].sum()),
    }


def _ratio(part: Tensor, whole: Tensor) -> float | None:
    return float(part / whole) if whole > 0 else None


def _ratios(parts: Tensor, wholes: Tensor) -> list[float | None]:
    return [_ratio(part, whole) for part, whole in zip(parts, wholes, strict=True)]
