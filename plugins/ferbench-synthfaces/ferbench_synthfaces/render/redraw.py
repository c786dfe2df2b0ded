"""The test split of a rendered dataset with another seed, image by image and without a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ferbench.contract.dataset import Sample
from ferbench_synthfaces.render.assets import load_assets
from ferbench_synthfaces.render.plan import TEST, SetPlan, plan_split
from ferbench_synthfaces.render.render_set import render_row


def redrawn(description: Mapping[str, Any], seed: int, count: int | None = None) -> Iterator[Sample]:
    """The test images of the dataset that a `dataset.json` describes, rendered with a seed of any number of bits.

    `count` is the number of images, by default that of the description. With the dataset's own seed they are its test
    split. Ids and attributes do not reveal the seed.
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
