"""The test split of a rendered set as another seed gives it, image by image and without a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ferbench.contract.dataset import Sample
from ferbench_synthfaces.render.assets import load_assets
from ferbench_synthfaces.render.plan import TEST, SetPlan, plan_split
from ferbench_synthfaces.render.render_set import render_row


def redrawn(description: Mapping[str, Any], seed: int, count: int | None = None) -> Iterator[Sample]:
    """The test images of the set that a `dataset.json` describes, from a seed of any number of bits.

    `count` is their number, that of the description unless one is given. With the set's own seed they are its test
    split. Neither an id nor an attribute tells the seed.
    """
    generator, count = description["generator"], count or description["splits"][TEST]["images"]
    plan = SetPlan(
        description["name"], seed, generator["size"], train=0, test=count, pool=0, level=generator["difficulty"]
    )
    assets, split = load_assets(), plan_split(seed, TEST, count)
    for index in range(count):
        row = render_row(assets, plan, TEST, split, index)
        yield Sample(
            id=row["id"],
            image=row["image"]["bytes"],
            split="test",
            label=row["label"],
            subject=row["subject"],
            box=tuple(row["box"]),
        )
