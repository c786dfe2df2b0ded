"""What happened in an epoch: sums stay on the device and are read once."""

from collections.abc import Iterator, Mapping, Sequence
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
    """What a method said of N unlabeled images, (N,) each: `number` int32, `pseudo_label` int16, `mask` float32."""

    number: Tensor
    pseudo_label: Tensor
    mask: Tensor


BYTES_SAID = 4 + 2 + 4
"""Bytes that the entry of one image takes."""


class Note(NamedTuple):
    """What one step leaves on the device until its epoch is read.

    `floats` (B + terms,) holds the mask and then the values of the terms. `whole` (2, B) holds the numbers of the
    unlabeled images and their pseudo-labels; it is None if the method said nothing of them. An extra is a sum over the
    images of one forward pass, stored with the number of these images.
    """

    step: int
    terms: tuple[str, ...]
    floats: Tensor
    whole: Tensor | None
    extras: list[tuple[str, int, Tensor]]


class EpochStats:
    """Sums of loss terms, sums of pseudo-labels by class, and what was said of each unlabeled image.

    A checkpoint in mid-epoch keeps `state`, on the host, and `said`, on the device. The values of a step stay on the
    device until the epoch is read, so that a step never waits. They are summed on the host. A step costs two launches,
    and one for each extra.
    """

    def __init__(self, n_classes: int, device: torch.device) -> None:
        self.n_classes, self.device = n_classes, device
        self.state: dict[str, Tensor] = {}
        self._unsummed: list[Note] = []
        self._unsettled: list[Note] = []
        self.said: Said | None = None
        """From all processes, for the steps until the last call of `settle`."""

    @torch.no_grad()
    def add(self, step: int, total: Tensor, losses: Losses, numbers: Tensor | None) -> None:
        """Add one step's losses. `numbers` (B,) int64 identify the step's unlabeled images for the method."""
        terms = {"loss": total, **losses.terms}
        floats, whole = [value.detach().reshape(1) for value in terms.values()], None
        if losses.pseudo_label is not None and losses.mask is not None and numbers is not None:
            floats, whole = [losses.mask.detach(), *floats], torch.stack([numbers, losses.pseudo_label])
        note = Note(step, tuple(terms), torch.cat(floats), whole, [])
        self._unsummed.append(note)
        self._unsettled += [note] if whole is not None else []

    @torch.no_grad()
    def add_extras(self, extras: Sequence[Mapping[str, Tensor]]) -> None:
        """Add the extras that heads returned in the forward passes of the latest step, one row per image."""
        for name, value in (item for forward in extras for item in forward.items()):
            self._unsummed[-1].extras.append((name, len(value), value.float().sum(0)))

    def _sum_up(self) -> None:
        """Add the values that steps left to the sums, step by step. Reading them waits for the device."""
        notes, self._unsummed = self._unsummed, []
        floats = _on_host([note.floats for note in notes])
        whole = _on_host([note.whole for note in notes if note.whole is not None])
        extras = _on_host([value for note in notes for _, _, value in note.extras])
        for note in notes:
            values = next(floats).float()
            mask, terms = values[: len(values) - len(note.terms)], values[len(values) - len(note.terms) :]
            self._sum("steps", torch.ones(()))
            for name, value in zip(note.terms, terms, strict=True):
                self._sum(f"term.{name}", value)
                bad = self.state.setdefault(f"bad.{name}", torch.full((), NEVER))
                bad.copy_(bad if value.isfinite() else bad.clamp(max=note.step))
            if note.whole is not None:
                predicted = (next(whole)[1].unsqueeze(1) == torch.arange(self.n_classes)).float()
                self._sum("unlabeled", torch.full((), float(len(mask))))
                self._sum("pseudo_label", predicted.sum(0))
                self._sum("masked", (predicted * mask.unsqueeze(1)).sum(0))
            for name, images, _ in note.extras:
                self._sum(f"extra.{name}", next(extras))
                self._sum(f"images.{name}", torch.full((), float(images)))

    def _sum(self, name: str, value: Tensor) -> None:
        if name in self.state:
            self.state[name] += value
        else:
            self.state[name] = value.clone()

    def first_bad(self) -> tuple[int, str] | None:
        """The first step with a loss that was not finite, and the term where it began. None if all were finite."""
        self._sum_up()
        bad = [(int(value), name.removeprefix("bad.")) for name, value in self.state.items() if name.startswith("bad.")]
        # A term that is not finite makes the total not finite in the same step: name the term, not the total.
        step, _, name = min(((s, n == "loss", n) for s, n in bad), default=(NEVER, False, ""))
        return (step, name) if step < NEVER else None

    def check_finite(self) -> None:
        """Raise DivergedError if a loss was not finite. Reading the losses waits for the device."""
        if (bad := self.first_bad()) is not None:
            raise DivergedError(*bad)

    def settle(self, processes: Processes) -> None:
        """Average the sums over processes and gather what was said. Then a checkpoint may be written.

        Each process keeps its own note of where a loss was not finite.
        """
        self._sum_up()
        for name in sorted(self.state) if processes.count > 1 else ():
            if not name.startswith("bad."):
                self.state[name] = processes.mean(self.state[name].to(self.device)).cpu()
        notes, self._unsettled = self._unsettled, []
        if notes:
            whole = torch.cat([note.whole for note in notes if note.whole is not None], 1)
            mask = torch.cat([note.floats[: len(note.floats) - len(note.terms)] for note in notes]).float()
            # converted to int16 only here, since gloo cannot exchange int16
            number, pseudo_label, mask = map(processes.gather, (*whole.to(torch.int32), mask))
            fresh = Said(number, pseudo_label.to(torch.int16), mask)
            self.said = Said(*map(torch.cat, zip(self.said, fresh, strict=True))) if self.said else fresh

    def take_said(self) -> Said | None:
        """What was said in the epoch, settled. The next epoch starts empty."""
        said, self.said = self.said, None
        return said

    def read(self) -> dict[str, Any]:
        """The epoch's row as JSON values. The statistics start empty for the next epoch."""
        self._sum_up()
        state = {name: value.double() for name, value in self.state.items()}
        self.state = {}
        steps = float(state["steps"])
        terms = {n.removeprefix("term."): float(v) / steps for n, v in state.items() if n.startswith("term.")}
        row: dict[str, Any] = {"loss": terms.pop("loss"), "terms": terms}
        extras = [name.removeprefix("extra.") for name in state if name.startswith("extra.")]
        if extras:
            row["head"] = {name: _finite_mean(state, name) for name in extras}
        return row | _pseudo_label_row(state) if "unlabeled" in state else row


def _on_host(values: Sequence[Tensor]) -> Iterator[Tensor]:
    """The tensors one by one, after one common copy to the host."""
    if not values:
        return iter(())
    flat = torch.cat([value.flatten() for value in values]).cpu().split([value.numel() for value in values])
    return (part.view(value.shape) for part, value in zip(flat, values, strict=True))


def _finite_mean(state: dict[str, Tensor], name: str) -> Any:
    mean = state[f"extra.{name}"] / state[f"images.{name}"]
    if not bool(mean.isfinite().all()):
        raise PluginError(f"the head's extra '{name}' is not finite; use 0 or omit it")
    return mean.tolist()


def _pseudo_label_row(state: dict[str, Tensor]) -> dict[str, Any]:
    masked, predicted = state["masked"], state["pseudo_label"]
    used = [float(part / whole) if whole > 0 else None for part, whole in zip(masked, predicted, strict=True)]
    return {"mask_rate": float(masked.sum() / state["unlabeled"]), "mask_rate_per_class": used}
