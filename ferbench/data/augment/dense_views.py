"""The weak and strong views of a step on a GPU, made together: their common last part runs once for all."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ferbench.data.augment import cutout, dense, weak
from ferbench.data.augment.geometry import follow
from ferbench.data.augment.pixels import check_images, widen
from ferbench.data.augment.randaugment import inverses
from ferbench.data.augment.resize import resize, resize_boxes
from ferbench.data.augment.strong import Strong, StrongParameters
from ferbench.data.augment.weak import Weak, WeakParameters, shift_and_flip


class BoxPlan(NamedTuple):
    """How the boxes of B images move: arrays on the host, which become tensors on the device."""

    inverses: Any  # (R, B, 2, 3) float64, the inverse transforms of RandAugment; R is 0 for a weak view
    dx: Any  # (B,) int64; dx, dy and flip belong to the crop
    dy: Any  # (B,) int64
    flip: Any  # (B,) bool


@dataclass(frozen=True)
class Job:
    """One view of B images, drawn from a generator."""

    view: Weak | Strong
    count: int
    generator: torch.Generator


def prepare(jobs: Sequence[Job], stored: int, size: int, *, boxes: bool) -> list[Any]:
    """Draw views of `size` pixels for images that are stored at `stored` pixels. The plan goes to `parcel.send`.

    The plan for boxes is included only if `boxes` is set.
    """
    drawn: list[StrongParameters | WeakParameters] = []
    plan: list[Any] = []
    for job in jobs:
        if isinstance(job.view, Strong):
            found = job.view.draw(job.count, stored, stored, job.generator)
            plan.append(dense.prepare(found.randaugment, stored, stored))
            plan.append(job.view.cutout.prepare(found.rectangles, stored, stored))
            drawn.append(found)
        else:
            drawn.append(job.view.draw(job.count, job.generator))
    plan.append(weak.prepare([_end(each) for each in drawn], size, size))
    return plan + [_box_plan(each, stored) for each in drawn if boxes]


def make(
    jobs: Sequence[Job], plan: Sequence[Any], images: Sequence[Tensor], boxes: Sequence[Tensor] | None, size: int
) -> tuple[Tensor, list[Tensor]]:
    """The views of all jobs, (sum of B, size, size, 3) uint8, and the boxes (B, 4) of each job if boxes are given.

    `plan` is the result of `prepare` after `send`; `images` are (B, S, S, 3) uint8 for each job.
    """
    parts = iter(plan)
    ends = []
    for job, stored in zip(jobs, images, strict=True):
        check_images(stored)
        if isinstance(job.view, Strong):
            rgbx = dense.apply(widen(stored), next(parts))
            cutout.paint(rgbx, next(parts))
            stored = rgbx[..., :3]
        ends.append(resize(stored, size))
    views = weak.gather(torch.cat(ends) if len(ends) > 1 else ends[0], next(parts))
    if boxes is None:
        return views, []
    return views, [_moved(each, next(parts), stored.shape[1], size) for each, stored in zip(boxes, images, strict=True)]


def _end(drawn: StrongParameters | WeakParameters) -> WeakParameters:
    return drawn.weak if isinstance(drawn, StrongParameters) else drawn


def _box_plan(drawn: StrongParameters | WeakParameters, stored: int) -> BoxPlan:
    end = _end(drawn)
    rounds = np.empty((0, len(end.dx), 2, 3))
    if isinstance(drawn, StrongParameters):
        rounds = inverses(drawn.randaugment, stored, stored)
    return BoxPlan(rounds, end.dx.numpy(), end.dy.numpy(), end.flip.numpy())


def _moved(boxes: Tensor, plan: BoxPlan, stored: int, size: int) -> Tensor:
    if len(plan.inverses):
        boxes = follow(boxes, plan.inverses, stored, stored)
    return shift_and_flip(resize_boxes(boxes, stored, size), WeakParameters(plan.dx, plan.dy, plan.flip), size, size)
