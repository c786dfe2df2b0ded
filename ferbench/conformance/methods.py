"""What every method must keep, checked on the toy task."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from ferbench.cells.request import RunRequest
from ferbench.cells.resolve import method_config, view_kinds
from ferbench.conformance.framework import Checks, Doubt, Found
from ferbench.conformance.fresh_process import in_fresh_processes
from ferbench.conformance.losses import LossWatch
from ferbench.conformance.memory import MemoryWatch, new_objects_alone
from ferbench.conformance.options import ignored_options
from ferbench.conformance.static_check import check_static
from ferbench.conformance.surroundings import Surroundings
from ferbench.conformance.toy_run import Ended, recipe_of, run_toy, state_digest
from ferbench.conformance.toy_set import write_greys
from ferbench.conformance.toy_task import CPU, INFO, toy_builders, toy_network, toy_task
from ferbench.contract.backbone import Network
from ferbench.contract.method import Method, MethodConfig
from ferbench.discovery.registry import Entry
from ferbench.errors import suggestion
from ferbench.execution.audit import audit
from ferbench.execution.build import build_backbone
from ferbench.execution.plan import make_plan
from ferbench.training.stages import stage_steps

MEMORY_STEPS = 200
AUDIT_RECIPE, AUDIT_SIZE = {"steps": 20, "evaluations": 2, "labeled_batch": 4, "unlabeled_batch": 4}, 16

CHECKS = Checks()


@dataclass(frozen=True)
class MethodCase:
    """A method, and the runs that its checks share."""

    entry: Entry
    method: type[Method]
    surroundings: Surroundings

    def __hash__(self) -> int:
        return id(self)

    def configs(self) -> Iterator[tuple[str, MethodConfig]]:
        """Every variant with its options."""
        assert self.method.variants, "it has no variants; the least is {'described': {}}"
        for variant in self.method.variants:
            yield variant, method_config(self.entry.name, self.method, variant, None, {})

    @functools.cache  # noqa: B019 - a case lives as long as its checks
    def whole(self, variant: str) -> Ended:
        """The uninterrupted run of a variant."""
        return self.run(dict(self.configs())[variant])

    def run(self, config: MethodConfig, **more: Any) -> Ended:
        """A run with options; `more` is what `run_toy` takes."""
        kinds = view_kinds(self.method(config))
        own = {name: self.surroundings.registry.load("views", name) for name in kinds}
        return run_toy(self.method, config, views=own, **more)

    @functools.cache  # noqa: B019
    def watched(self, variant: str) -> tuple[LossWatch, Ended | Exception]:
        """The same run again with all its losses looked at, and how it ended."""
        watch = LossWatch(variant)
        try:
            return watch, self.run(dict(self.configs())[variant], observer=watch)
        except Exception as error:  # a loss of a wrong shape can stop the engine; its fault is told first
            return watch, error


def case(entry: Entry, surroundings: Surroundings) -> MethodCase:
    """The case of a registered method."""
    return MethodCase(entry, entry.load(), surroundings)


@CHECKS.add(
    "options have descriptions and valid defaults",
    protects="`ferbench list methods -v`, the report and the record show what each option means",
    mend="give every field of Config a default that its own bounds admit and a Field(description=...)",
)
def options(case: MethodCase) -> str:
    count = 0
    for _ in case.configs():
        for name, field in case.method.Config.option_fields().items():
            assert field.description, f"option '{name}' has no description"
            count += 1
    return f"{count} options"


@CHECKS.add(
    "titles are those of variants",
    protects="a title of a variant that there is not is never shown, and the one that was meant has none",
    mend="give register(titles={...}) the names that stand in variants",
)
def titles(case: MethodCase) -> str:
    for variant in case.entry.titles:
        known = f"it has {', '.join(case.method.variants)}{suggestion(variant, case.method.variants)}"
        assert variant in case.method.variants, f"'{case.entry.titles[variant]}' is of variant '{variant}'; {known}"
    return f"{len(case.entry.titles)} titles"


@CHECKS.add(
    "stages and views are declared",
    protects="`--dry-run` and the plan of a run, which are made before there are images or nets",
    mend="use nothing but self.config in __init__ and in stages(), and give every stage its Views",
)
def declared(case: MethodCase) -> str:
    found = [stage.name for _, config in case.configs() for stage in case.method(config).declared_stages()]
    return ", ".join(dict.fromkeys(found))


@CHECKS.add(
    "losses are tensors of the right shapes and ranges",
    protects="the engine minimises the total, and history and report show terms, pseudo-labels and masks as they are "
    "described",
    mend="return Losses(total, pseudo_label=, mask=, **terms): scalar tensors, (B,) int64 class numbers "
    "and (B,) floats "
    "in 0..1 for the B unlabeled images, in their order; leave the batch as it is",
)
def losses(case: MethodCase) -> None:
    for variant, _ in case.configs():
        watch, ended = case.watched(variant)
        assert not watch.fault, watch.fault
        if isinstance(ended, Exception):
            raise ended


@CHECKS.add(
    "pseudo-labels and mask are those that train",
    protects="the mask rate and the precision of pseudo-labels in tables, which say what the unlabeled images did",
    mend="return the pseudo_label and the mask that the loss itself uses",
)
def honest_mask(case: MethodCase) -> Found:
    return "; ".join(case.watched(variant)[0].verdict() for variant, _ in case.configs())


@CHECKS.add(
    "the loss never waits for the device",
    protects="the speed on a GPU: a loss that reads a value stalls it at every step and cannot be captured",
    mend="replace .item(), .cpu(), .tolist(), `if tensor` and boolean-mask indexing by torch.where and masks",
)
def static(case: MethodCase) -> str:
    for _, config in case.configs():
        check_static(case.method, config, INFO)
    return "variants " + ", ".join(case.method.variants)


@CHECKS.add(
    "a run is deterministic",
    protects="that a result can be computed again from its record",
    mend="draw from self.random, self.uniform and their like alone, never from random, numpy.random, "
    "time or files, and "
    "keep all state in buffers",
)
def deterministic(case: MethodCase) -> None:
    for variant, _ in case.configs():
        first, (_, second) = case.whole(variant), case.watched(variant)
        if isinstance(second, Exception):
            raise second
        assert first.everything == second.everything, f"variant '{variant}': {_difference(first, second)}"


@CHECKS.add(
    "a run that was stopped goes on to the same end",
    protects="runs that a scheduler or a person stops: they resume bit for bit",
    mend="keep state in buffers, which are in the checkpoint, and draw from self.random",
)
def resume(case: MethodCase) -> None:
    for variant, config in case.configs():
        method = case.method(config)
        stages, begun, stops = list(method.stages()), 0, []
        counts = stage_steps(recipe_of(method).steps, stages)
        for steps in counts:
            stops.append(begun + max(1, steps // 2))
            begun += steps
        resumed = case.run(config, stops=stops)
        assert case.whole(variant).everything == resumed.everything, (
            f"variant '{variant}': stopped and resumed within {_and([stage.name for stage in stages])}, "
            + _difference(case.whole(variant), resumed)
        )


@CHECKS.add(
    "the loss is finite and trains the net",
    protects="hours of computing on a method that learns nothing",
    mend="make the total depend on what the net gives for the views, without .detach() on the way",
)
def trains(case: MethodCase) -> str:
    texts = []
    for variant, config in case.configs():
        ended = case.whole(variant)
        assert ended.history, "no epoch was recorded"
        begin = state_digest(toy_start(case.method, config))
        assert state_digest(ended.method.net) != begin, f"variant '{variant}': training leaves the net as it was"
        texts.append(f"{variant}: loss {ended.history[0].loss:.2f} to {ended.history[-1].loss:.2f}")
    return ", ".join(texts)


@CHECKS.add(
    "every option changes something",
    protects="ablations and tuning: an option that does nothing makes equal runs look like a finding",
    mend="use the option, or remove it",
)
def no_option_ignored(case: MethodCase) -> Found:
    ignored, idle, unvaried = ignored_options(case.method, [config for _, config in case.configs()], case.run)
    assert not ignored, f"nothing reads {_and(ignored)}, whatever the other options are"
    parts = [f"changed nothing in the check: {_and(idle)}"] if idle else []
    parts += [f"cannot be varied here: {_and(unvaried)}"] if unvaried else []
    return Doubt("; ".join(parts)) if parts else None


@CHECKS.add(
    f"memory does not grow over {MEMORY_STEPS} steps",
    protects="long runs, which would end when the memory of the device does",
    mend="keep tensors in buffers of a fixed size, .detach() what outlives a step, and append to no list",
)
def memory(case: MethodCase) -> Found:
    variant, config = next(case.configs())
    watch = MemoryWatch()
    with new_objects_alone():
        case.run(config, steps=MEMORY_STEPS, after_step=watch)
    return watch.verdict(variant)


@CHECKS.add(
    "the engine takes every optimizer step",
    protects="that a record says what trained: optimizers and their settings, and that their state is checkpointed",
    mend="give the stage its OptimizerSettings, further ones by name, and step with take_step in Stage.step",
)
def inner_steps(case: MethodCase) -> None:
    for variant, _ in case.configs():
        inner = case.whole(variant).inner_steps
        found = ", ".join(f"{count} of {name}" for name, count in inner.items())
        assert not inner, f"variant '{variant}': optimizer steps that the engine does not take: {found}"


@CHECKS.add(
    "evaluation_net gives the same net each time",
    protects="that the weights that are saved are those that were scored",
    mend="build the evaluated net from state that training leaves, without drawing random numbers",
)
def evaluation_net(case: MethodCase) -> None:
    images = toy_task(unlabeled=False, device=CPU).maker.normalised(torch.full((4, 16, 16, 3), 90, dtype=torch.uint8))
    for variant, _ in case.configs():
        method, given, scores = case.whole(variant).method, [], []
        for _ in range(3):
            net = method.evaluation_net()
            assert isinstance(net, nn.Module), f"it is a {type(net).__name__}, and no module that gives an Output"
            given.append(state_digest(net))
            with torch.no_grad():
                scores.append(net.eval()(images).logits)
        assert len(set(given)) == 1, f"variant '{variant}': three calls give nets of different weights"
        assert all(torch.equal(scores[0], other) for other in scores), (
            f"variant '{variant}': three calls give nets with different logits for the same images"
        )


@CHECKS.add(
    "other processes compute the same",
    protects="that a result can be computed again: hash() of a string, the order of a set, a process's id or the time "
    "differ in each process",
    mend="let nothing depend on hash(), on the order of sets or on the process; use hashlib and sorted()",
    slow=True,
)
def fresh_processes(case: MethodCase) -> str:
    for variant, config in case.configs():
        registry = case.surroundings.registry
        views = {name: registry.get("views", name).target for name in view_kinds(case.method(config))}
        ends = {*in_fresh_processes(case.entry, variant, views), case.whole(variant).everything}
        assert len(ends) == 1, f"variant '{variant}': runs of one seed in three processes end in {len(ends)} ways"
    return "three processes"


def toy_start(method: type[Method], config: MethodConfig) -> Network:
    """The net before the first step."""
    built = method(config)
    net = toy_network(built)
    built.prepare(toy_builders(built))
    built.setup(net, INFO)
    return net


def _difference(first: Ended, second: Ended) -> str:
    if first.weights != second.weights:
        return "two runs of one seed end in different weights"
    return "two runs of one seed end in equal weights, but the method's state or the history differs"


def _and(names: list[str]) -> str:
    return " and ".join(f"'{name}'" for name in names) if len(names) < 3 else ", ".join(f"'{name}'" for name in names)


@CHECKS.add(
    "hidden labels and test images change nothing",
    protects="every comparison: a method that reaches labels beyond its budget, or test images, wins by that",
    mend="use what the batch gives, and no file of a dataset; `ferbench audit` trains longer",
    slow=True,
)
def audited(case: MethodCase) -> Found:
    registry = case.surroundings.registry
    requires = frozenset[str]().union(*(case.method(config).requires for _, config in case.configs()))
    backbone = "small-vit" if "tokens" in requires else "small-resnet/4"
    with TemporaryDirectory() as folder:
        init = Path(folder) / "init.safetensors"
        save_file(build_backbone(registry, backbone, AUDIT_SIZE, None).state_dict(), init)
        request = RunRequest(
            methods=(case.entry.name,),
            datasets=(str(write_greys(Path(folder) / "greys")),),
            ratios=("0.5",),
            backbones=(backbone,),
            init=str(init) if "init" in requires else "scratch",
            overrides={**AUDIT_RECIPE, "image_size": AUDIT_SIZE},
            device="cpu",
            runs=Path(folder) / "runs",
        )
        (item,) = make_plan(request, registry, check_data=False)
        if item.job.plan["relabeled"]:
            return Doubt("it declares that it sees labels beyond the budget; its records are never standard")
        found = audit(item.job, registry, Path(folder), lambda event: None, lambda: None)
        assert not found, f"with other labels of unlabeled images and other test images, {', '.join(found)} differ"
    return "20 steps"
