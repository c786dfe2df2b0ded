"""Checks for protocols."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from ferbench.conformance.framework import Checks
from ferbench.conformance.surroundings import Surroundings
from ferbench.contract.dataset import SEVEN_CLASSES
from ferbench.contract.protocol import Protocol
from ferbench.data.load.image_store import ImageStore
from ferbench.data.select.folds import fold_of
from ferbench.data.select.splits import make_split
from ferbench.discovery.registry import Entry
from ferbench.errors import UsageError
from ferbench.execution.nets import check_backbone
from ferbench.records.cell import Budget
from ferbench.training.optimization import make_optimizer

PER_CLASS, TESTED, SUBJECTS = 1000, 20, 40

CHECKS = Checks()


@dataclass(frozen=True)
class ProtocolCase:
    """A protocol under its registered name."""

    name: str
    protocol: Protocol
    surroundings: Surroundings

    def budgets(self) -> Iterator[tuple[str, list[Budget]]]:
        """Yield a title for every budget in its tables, with the budget under each possible allocation."""
        of = self.protocol
        for ratio in of.ratios:
            yield f"ratio {ratio}", [Budget(ratio=ratio, allocation=of.allocations[0])]
        for count in of.counts:
            yield f"{count} labels", [Budget(count=count, allocation=each) for each in of.allocations]
        for number in of.per_class:
            yield f"{number} per class", [Budget(per_class=number)]


def case(entry: Entry, surroundings: Surroundings) -> ProtocolCase:
    """Return the case of a registered protocol."""
    return ProtocolCase(entry.name, entry.load(), surroundings)


@CHECKS.add(
    "is a Protocol with its registered name",
    protects="records and tables, which look up the protocol by this name",
    mend="register an instance of ferbench.contract.protocol.Protocol whose field name is the registered name and ends "
    "with a version such as -v1",
)
def named(case: ProtocolCase) -> str:
    assert isinstance(case.protocol, Protocol), "it is not a ferbench.contract.protocol.Protocol"
    assert case.protocol.name == case.name, f"its name is '{case.protocol.name}', but it is registered as '{case.name}'"
    assert re.search(r"-v\d+$", case.name), "its name does not end with a version, which must change with its rules"
    return case.protocol.purpose


@CHECKS.add(
    "has only fields that the engine knows",
    protects="records: a field that no code reads looks like a rule, but has no effect",
    mend="use only the fields of Protocol; other rules need a change of ferbench",
)
def no_unknown_field(case: ProtocolCase) -> None:
    known = set(Protocol.model_fields)
    unknown = sorted(set(type(case.protocol).model_fields) - known)
    assert not unknown, f"no code reads {', '.join(unknown)}"


@CHECKS.add(
    "every recipe can be built",
    protects="the first cell of every sweep",
    mend="give `recipes` a 'default', name installed backbones, and choose an image_size that they support",
)
def recipes(case: ProtocolCase) -> str:
    recipes = case.protocol.recipes
    assert "default" in recipes, "it has no 'default' recipe for other datasets"
    for family, recipe in recipes.items():
        try:
            check_backbone(case.surroundings.registry, recipe.backbone, recipe.image_size)
        except UsageError as error:
            raise AssertionError(f"recipe '{family}': {error}") from None
        make_optimizer([{"params": [torch.nn.Parameter(torch.zeros(1))]}], recipe)
    return f"recipes for {', '.join(recipes)}"


@CHECKS.add(
    "every budget gives a split",
    protects="its tables: each column needs labeled, unlabeled and test images, and seeds that draw different images",
    mend="name ratios in 0..1 or numbers of labels, an allocation that spreads them (proportional, balanced, adacm, "
    "leaf, per-class), and seeds that have a fold",
)
def splits(case: ProtocolCase) -> str:
    store, count = _Faces(), 0
    for title, budgets in case.budgets():
        drawn = [_labeled(case, store, budgets, seed) for seed in case.protocol.seeds]
        assert len(case.protocol.seeds) == 1 or title == "ratio 1" or len({tuple(rows) for rows in drawn}) > 1, (
            f"{title}: all seeds draw the same images"
        )
        count += 1
    assert count, "it has no budget: ratios, counts and per_class are empty"
    return f"{count} budgets, {len(case.protocol.seeds)} seeds"


def _labeled(case: ProtocolCase, store: ImageStore, budgets: list[Budget], seed: int) -> list[int]:
    """Return the labeled rows for the first allocation that accepts the budget."""
    refusals = []
    for budget in budgets:
        of = case.protocol
        try:
            fold, groups = fold_of(of, seed), of.rank_groups
            split = make_split(store, SEVEN_CLASSES, budget, seed, rule=of.split_rule, groups=groups, fold=fold)
        except UsageError as error:
            refusals.append(str(error))
            continue
        assert split.labeled and split.test, f"{budget.title()}: there are no labeled or no test images"
        assert not set(split.labeled) & set(split.test), f"{budget.title()}: some images are both labeled and tested"
        return split.labeled
    raise AssertionError(refusals[0])


class _Faces(ImageStore):
    """A dataset of seven classes that has names, but no images."""

    def __init__(self) -> None:
        self.meta = {"name": "faces", "fingerprint": "0" * 64}
        rows = [
            (f"{split}/{label}/{number:04}", split, label, f"subject-{number % SUBJECTS}", f"video-{number // 5}")
            for split, count in (("train", PER_CLASS), ("test", TESTED))
            for label in SEVEN_CLASSES
            for number in range(count)
        ]
        self.ids, self.splits, self.labels, self._subjects, self._videos = map(list, zip(*rows, strict=True))

    def groups(self, kind: str) -> list[str]:
        return {"image": self.ids, "subject": self._subjects, "video": self._videos}[kind]
