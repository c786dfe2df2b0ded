"""Checks for methods, on the toy task."""

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
        """Yield every variant with its options."""
        assert self.method.variants, "it has no variants; declare at least {'described': {}}"
        for variant in self.method.variants:
            yield variant, method_config(self.entry.name, self.method, variant, None, {})

    @functools.cache  # noqa: B019 - the cache is freed with the case
    def whole(self, variant: str) -> Ended:
        """Run a variant without interruption."""
        return self.run(dict(self.configs())[variant])

    def run(self, config: MethodConfig, **more: Any) -> Ended:
        """Run with options; `more` are further arguments of `run_toy`."""
        kinds = view_kinds(self.method(config))
        own = {name: self.surroundings.registry.load("views", name) for name in kinds}
        return run_toy(self.method, config, views=own, **more)

    @functools.cache  # noqa: B019
    def watched(self, variant: str) -> tuple[LossWatch, Ended | Exception]:
        """Repeat the run while watching its losses; return the watch, and the end or error of the run."""
        watch = LossWatch(variant)
        try:
            return watch, self.run(dict(self.configs())[variant], observer=watch)
        except Exception as error:  # a loss of a wrong shape can stop the engine; the watch has the better message
            return watch, error


def case(entry: Entry, surroundings: Surroundings) -> MethodCase:
    """Return the case of a registered method."""
    return MethodCase(entry, entry.load(), surroundings)


@CHECKS.add(
    "options have descriptions and valid defaults",
    protects="`ferbench list methods -v`, reports and records: they show what each option means",
    mend="give every field of Config a default within its bounds and a Field(description=...)",
)
def options(case: MethodCase) -> str:
    count = 0
    for _ in case.configs():
        for name, field in case.method.Config.option_fields().items():
            assert field.description, f"option '{name}' has no description"
            count += 1
    return f"{count} options"


@CHECKS.add(
    "titles belong to existing variants",
    protects="tables: a title for an unknown variant is never shown, and the intended variant has none",
    mend="use the names in variants for register(titles={...})",
)
def titles(case: MethodCase) -> str:
    for variant in case.entry.titles:
        known = f"it has {', '.join(case.method.variants)}{suggestion(variant, case.method.variants)}"
        assert variant in case.method.variants, (
            f"'{case.entry.titles[variant]}' is for an unknown variant '{variant}'; {known}"
        )
    return f"{len(case.entry.titles)} titles"


@CHECKS.add(
    "stages and views are declared",
    protects="`--dry-run` and planning, which happen before there are images or nets",
    mend="use only self.config in __init__ and in stages(), and give every stage its Views",
)
def declared(case: MethodCase) -> str:
    found = [stage.name for _, config in case.configs() for stage in case.method(config).declared_stages()]
    return ", ".join(dict.fromkeys(found))


@CHECKS.add(
    "losses are tensors of the right shapes and ranges",
    protects="training and reports: the engine minimises the total; reports show terms, pseudo-labels and masks",
    mend="return Losses(total, pseudo_label=, mask=, **terms): scalar tensors, (B,) int64 class numbers "
    "and (B,) floats in 0..1 for the B unlabeled images, in their order; do not change the batch",
)
def losses(case: MethodCase) -> None:
    for variant, _ in case.configs():
        watch, ended = case.watched(variant)
        assert not watch.fault, watch.fault
        if isinstance(ended, Exception):
            raise ended


@CHECKS.add(
    "reported pseudo-labels and mask are the ones that train",
    protects="mask rate and pseudo-label precision in tables, which show what the unlabeled images contributed",
    mend="return the pseudo_label and the mask that the loss itself uses",
)
def honest_mask(case: MethodCase) -> Found:
    return "; ".join(case.watched(variant)[0].verdict() for variant, _ in case.configs())


@CHECKS.add(
    "the loss never waits for the device",
    protects="the speed on a GPU: a loss that reads a value stalls the GPU at every step and cannot be captured",
    mend="replace .item(), .cpu(), .tolist(), `if tensor` and boolean-mask indexing by torch.where and masks",
)
def static(case: MethodCase) -> str:
    for _, config in case.configs():
        check_static(case.method, config, INFO)
    return "variants " + ", ".join(case.method.variants)


@CHECKS.add(
    "a run is deterministic",
    protects="reproduction: a result must be the same if it is computed again from its record",
    mend="draw only by self.random, self.uniform and similar, never from random, numpy.random, "
    "time or files, and keep all state in buffers",
)
def deterministic(case: MethodCase) -> None:
    for variant, _ in case.configs():
        first, (_, second) = case.whole(variant), case.watched(variant)
        if isinstance(second, Exception):
            raise second
        assert first.everything == second.everything, f"variant '{variant}': {_difference(first, second)}"


@CHECKS.add(
    "a stopped and resumed run gives the same result",
    protects="runs that a scheduler or a person stops: they must resume bit for bit",
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
            f"variant '{variant}', stopped and resumed in {_and([stage.name for stage in stages])}: "
            + _difference(case.whole(variant), resumed)
        )


@CHECKS.add(
    "the loss is finite and trains the net",
    protects="computing time: a method that learns nothing wastes hours",
    mend="make the total depend on the net's output for the views, without .detach() in between",
)
def trains(case: MethodCase) -> str:
    texts = []
    for variant, config in case.configs():
        ended = case.whole(variant)
        assert ended.history, "no epoch was recorded"
        begin = state_digest(toy_start(case.method, config))
        assert state_digest(ended.method.net) != begin, f"variant '{variant}': training does not change the net"
        texts.append(f"{variant}: loss {ended.history[0].loss:.2f} to {ended.history[-1].loss:.2f}")
    return ", ".join(texts)


@CHECKS.add(
    "every option changes something",
    protects="ablations and tuning: with an option that has no effect, equal runs look like a finding",
    mend="use the option, or remove it",
)
def no_option_ignored(case: MethodCase) -> Found:
    ignored, idle, unvaried = ignored_options(case.method, [config for _, config in case.configs()], case.run)
    assert not ignored, f"no code reads {_and(ignored)}, whatever the values of the other options"
    parts = [f"without effect in this check: {_and(idle)}"] if idle else []
    parts += [f"cannot be varied by this check: {_and(unvaried)}"] if unvaried else []
    return Doubt("; ".join(parts)) if parts else None


@CHECKS.add(
    f"memory does not grow over {MEMORY_STEPS} steps",
    protects="long runs, which would otherwise run out of memory",
    mend="keep tensors in buffers of a fixed size, .detach() tensors kept after a step, and do not append to lists",
)
def memory(case: MethodCase) -> Found:
    variant, config = next(case.configs())
    watch = MemoryWatch()
    with new_objects_alone():
        case.run(config, steps=MEMORY_STEPS, after_step=watch)
    return watch.verdict(variant)


@CHECKS.add(
    "the engine takes every optimizer step",
    protects="records and checkpoints: they contain optimizer settings and state only for steps that the engine takes",
    mend="give the stage its OptimizerSettings, name further optimizers, and take steps with take_step in Stage.step",
)
def inner_steps(case: MethodCase) -> None:
    for variant, _ in case.configs():
        inner = case.whole(variant).inner_steps
        found = ", ".join(f"{count} of {name}" for name, count in inner.items())
        assert not inner, f"variant '{variant}': these optimizer steps bypass the engine: {found}"


@CHECKS.add(
    "evaluation_net returns the same net each time",
    protects="saved models: their weights must be the ones that were scored",
    mend="build the evaluated net from the state after training, without drawing random numbers",
)
def evaluation_net(case: MethodCase) -> None:
    images = toy_task(unlabeled=False, device=CPU).maker.normalised(torch.full((4, 16, 16, 3), 90, dtype=torch.uint8))
    for variant, _ in case.configs():
        method, given, scores = case.whole(variant).method, [], []
        for _ in range(3):
            net = method.evaluation_net()
            assert isinstance(net, nn.Module), f"it is a {type(net).__name__}, not a module that returns an Output"
            given.append(state_digest(net))
            with torch.no_grad():
                scores.append(net.eval()(images).logits)
        assert len(set(given)) == 1, f"variant '{variant}': three calls return nets with different weights"
        assert all(torch.equal(scores[0], other) for other in scores), (
            f"variant '{variant}': three calls return nets with different logits for the same images"
        )


@CHECKS.add(
    "other processes compute the same result",
    protects="reproduction: hash() of a string, the order of a set, the process id and the time differ in each process",
    mend="do not depend on hash(), on the order of sets or on the process; use hashlib and sorted()",
    slow=True,
)
def fresh_processes(case: MethodCase) -> str:
    for variant, config in case.configs():
        registry = case.surroundings.registry
        views = {name: registry.get("views", name).target for name in view_kinds(case.method(config))}
        ends = {*in_fresh_processes(case.entry, variant, views), case.whole(variant).everything}
        assert len(ends) == 1, (
            f"variant '{variant}': runs with one seed in three processes have {len(ends)} different results"
        )
    return "three processes"


def toy_start(method: type[Method], config: MethodConfig) -> Network:
    """Return the net before the first step."""
    built = method(config)
    net = toy_network(built)
    built.prepare(toy_builders(built))
    built.setup(net, INFO)
    return net


def _difference(first: Ended, second: Ended) -> str:
    if first.weights != second.weights:
        return "two runs with one seed end with different weights"
    return "two runs with one seed end with equal weights, but the method's state or the history differs"


def _and(names: list[str]) -> str:
    return " and ".join(f"'{name}'" for name in names) if len(names) < 3 else ", ".join(f"'{name}'" for name in names)


@CHECKS.add(
    "hidden labels and test images have no effect",
    protects="every comparison: access to test images, or to labels beyond the budget, is an unfair advantage",
    mend="use only the contents of the batch, and no file of a dataset; `ferbench audit` trains longer",
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
        assert not found, (
            f"with other labels of unlabeled images and other test images, these differ: {', '.join(found)}"
        )
    return "20 steps"
