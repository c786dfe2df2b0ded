"""What happened in an epoch, accumulated on the device and read once."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ferbench.contract.batch import Losses
from ferbench.contract.method import Processes
from ferbench.errors import FerbenchError, PluginError

NEVER = 2**62


class DivergedError(FerbenchError):
    """A loss stopped being finite."""

    def __init__(self, step: int, term: str) -> None:
        super().__init__(
            f"loss term '{term}' is not finite at step {step}; lower the learning rate or the term's weight"
        )
        self.step, self.term = step, term


class Said(NamedTuple):
    """What a method said of unlabeled images (N,): `number` int32 of each, `pseudo_label` int16, `mask` float32."""

    number: Tensor
    pseudo_label: Tensor
    mask: Tensor


BYTES_SAID = 4 + 2 + 4
"""Of what is said of one image."""


class EpochStats:
    """Sums of loss terms and of pseudo-labels by class, and what was said of each unlabeled image.

    `state` and `said` are what a checkpoint in mid-epoch keeps. Everything stays on the device until `read`, so that a
    step never waits.
    """

    def __init__(self, n_classes: int, device: torch.device) -> None:
        self.n_classes, self.device = n_classes, device
        self.state: dict[str, Tensor] = {}
        self._steps: list[Said] = []
        self.said: Said | None = None
        """Of the steps until `settle` was last called, by all processes."""

    @torch.no_grad()
    def add(self, step: int, total: Tensor, losses: Losses, numbers: Tensor | None) -> None:
        """One step's losses; `numbers` (B,) int64 are what the method knows the step's unlabeled images by."""
        self._sum("steps", torch.ones((), device=self.device))
        for name, value in {"loss": total, **losses.terms}.items():
            value = value.detach().float()
            self._sum(f"term.{name}", value)
            if f"bad.{name}" not in self.state:
                self.state[f"bad.{name}"] = torch.full((), NEVER, device=self.device)
            bad = self.state[f"bad.{name}"]
            bad.copy_(torch.where(value.isfinite(), bad, bad.clamp(max=step)))
        if losses.pseudo_label is not None and losses.mask is not None and numbers is not None:
            self._note_pseudo_labels(losses.pseudo_label, losses.mask.float(), numbers)

    @torch.no_grad()
    def add_extras(self, extras: Sequence[Mapping[str, Tensor]]) -> None:
        """What heads have to show of one step's forwards, each entry with one row per image."""
        for name, value in (item for forward in extras for item in forward.items()):
            self._sum(f"extra.{name}", value.float().sum(0))
            self._sum(f"images.{name}", torch.full((), float(len(value)), device=self.device))

    def _note_pseudo_labels(self, pseudo_label: Tensor, mask: Tensor, numbers: Tensor) -> None:
        # By comparison, since one_hot scatters, which waits for a GPU in deterministic mode.
        predicted = (pseudo_label.unsqueeze(1) == torch.arange(self.n_classes, device=mask.device)).float()
        self._sum("unlabeled", torch.full((), float(len(mask)), device=self.device))
        self._sum("pseudo_label", predicted.sum(0))
        self._sum("masked", (predicted * mask.unsqueeze(1)).sum(0))
        self._steps.append(Said(numbers.to(torch.int32), pseudo_label.to(torch.int32), mask.detach().clone()))

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

    def settle(self, processes: Processes) -> None:
        """Make the sums those of an average process, and what was said that of all; a checkpoint may be written then.

        Where a loss was not finite stays this process's own.
        """
        for name in sorted(self.state) if processes.count > 1 else ():
            if not name.startswith("bad."):
                self.state[name] = processes.mean(self.state[name])
        if self._steps:
            # int16 only then, since gloo exchanges none
            fresh = Said(*(processes.gather(torch.cat(part)) for part in zip(*self._steps, strict=True)))
            fresh = fresh._replace(pseudo_label=fresh.pseudo_label.to(torch.int16))
            self.said = Said(*map(torch.cat, zip(self.said, fresh, strict=True))) if self.said else fresh
            self._steps = []

    def take_said(self) -> Said | None:
        """What was said in the epoch, settled; the next begins with nothing."""
        said, self.said = self.said, None
        return said

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
    used = [float(part / whole) if whole > 0 else None for part, whole in zip(masked, predicted, strict=True)]
    return {"mask_rate": float(masked.sum() / state["unlabeled"]), "mask_rate_per_class": used}
