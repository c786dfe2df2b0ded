"""The conformance suite: what every plugin must keep, checked on a toy task in seconds, on the CPU."""

import itertools
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from ferbench.cells.resolve import method_config
from ferbench.conformance.static_check import check_static
from ferbench.conformance.toy_task import INFO, RECIPE, toy_training
from ferbench.contract.backbone import BackboneRequest
from ferbench.contract.events import EpochRow
from ferbench.contract.head import Head, Output
from ferbench.contract.method import Method, MethodConfig
from ferbench.contract.protocol import Protocol
from ferbench.discovery.loader import load_registry
from ferbench.discovery.registry import Entry, LoadedPlugin, Registry
from ferbench.errors import FerbenchError, PluginError, UsageError, suggestion
from ferbench.records.cell import digest
from ferbench.training.checkpoint import Checkpoint, checkpoint_bytes
from ferbench.training.loop import train
from ferbench.training.stages import stage_steps


@dataclass(frozen=True)
class CheckResult:
    """One thing that was checked of one registered name."""

    name: str
    ok: bool
    detail: str = ""


def check_plugin(name: str, registry: Registry | None = None) -> list[CheckResult]:
    """Check everything that a plugin registers.

    `name` is its entry point, its distribution or one of its names. Without a registry the installed plugins are read.

    Raises:
        UsageError: no plugin has this name.
        PluginError: the plugin could not be loaded.
    """
    registry = load_registry() if registry is None else registry
    return [check() for _, check in planned_checks(registry, name)]


def planned_checks(registry: Registry, name: str) -> Iterator[tuple[str, Callable[[], CheckResult]]]:
    """The checks of a plugin by title, not yet run."""
    # Threads that wait for each other cost more than these small tensors.
    torch.set_num_threads(1)
    for entry in _entries(registry, name):
        for what, check in _checks(entry):
            title = f"{entry.kind.removesuffix('s')} {entry.name}: {what}"
            yield title, partial(_checked, title, check)


def _entries(registry: Registry, name: str) -> list[Entry]:
    plugins: list[LoadedPlugin] = [p for p in registry.plugins if name in (p.name, p.distribution)]
    if plugins:
        return [entry for plugin in plugins for entry in plugin.entries if entry.kind != "commands"]
    named = [entries[name] for kind, entries in registry.entries.items() if name in entries and kind != "commands"]
    if named:
        return named
    if problem := next((p for p in registry.problems if name in (p.plugin, p.distribution)), None):
        raise PluginError(str(problem))
    names = [p.name for p in registry.plugins] + [p.distribution for p in registry.plugins]
    raise UsageError(f"no plugin '{name}'{suggestion(name, names)}; `ferbench plugins list` names them")


def _checked(title: str, check: Callable[[], str | None]) -> CheckResult:
    try:
        return CheckResult(title, True, check() or "")
    except Exception as error:  # whatever a stranger's code raises is the finding
        text = str(error) if isinstance(error, FerbenchError | AssertionError) else f"{type(error).__name__}: {error}"
        return CheckResult(title, False, text)


def _checks(entry: Entry) -> Iterator[tuple[str, Callable[[], str | None]]]:
    yield "can be imported", lambda: _load(entry)
    if entry.kind == "methods":
        yield "options have descriptions and valid defaults", lambda: _check_options(entry)
        yield "the loss never waits for the device", lambda: _check_static(entry)
        yield "a run is deterministic", lambda: _check_deterministic(entry)
        yield "a run that was stopped goes on to the same end", lambda: _check_resume(entry)
        yield "the loss is finite and trains the net", lambda: _check_trains(entry)
    elif entry.kind == "heads":
        yield "maps features to an Output", lambda: _check_head(entry)
    elif entry.kind == "backbones":
        yield "maps images to features", lambda: _check_backbone(entry)
    elif entry.kind == "protocols":
        yield "is a Protocol", lambda: _check_protocol(entry)


def _load(entry: Entry) -> str:
    entry.load()
    return entry.target


def _configs(entry: Entry) -> Iterator[tuple[str, type[Method], MethodConfig]]:
    method = entry.load()
    assert isinstance(method, type) and issubclass(method, Method), "it does not subclass ferbench's Method"
    assert method.variants, "it has no variants; the least is {'described': {}}"
    for variant in method.variants:
        yield variant, method, method_config(entry.name, method, variant, None, {})


def _check_options(entry: Entry) -> str:
    count = 0
    for _, method, _ in _configs(entry):
        for name, field in method.Config.option_fields().items():
            assert field.description, f"option '{name}' has no description"
            count += 1
    return f"{count} options"


def _check_static(entry: Entry) -> str:
    variants = []
    for variant, method, config in _configs(entry):
        check_static(method, config, INFO)
        variants.append(variant)
    return "variants " + ", ".join(variants)


def _check_deterministic(entry: Entry) -> None:
    for variant, method, config in _configs(entry):
        first, second = (_train(method, config)[0] for _ in range(2))
        assert first == second, f"variant '{variant}': two runs of one seed end in different weights"


def _check_resume(entry: Entry) -> None:
    for variant, method, config in _configs(entry):
        whole, _ = _train(method, config)
        stages = list(method(config).stages())
        begun = 0
        for stage, steps in zip(stages, stage_steps(RECIPE.steps, stages), strict=True):
            resumed, _ = _train(method, config, stop_at=begun + steps // 2 + 1)
            assert whole == resumed, (
                f"variant '{variant}': a run resumed within stage '{stage.name}' ends in other weights; "
                "keep state in buffers and draw from self.random"
            )
            begun += steps


def _check_trains(entry: Entry) -> str:
    texts = []
    for variant, method, config in _configs(entry):
        _, history = _train(method, config)
        assert history, "no epoch was recorded"
        texts.append(f"{variant}: loss {history[0].loss:.2f} to {history[-1].loss:.2f}")
    return ", ".join(texts)


class _Stopped(FerbenchError):
    """Stands for Ctrl-C."""


def _train(method_class: type[Method], config: MethodConfig, stop_at: int | None = None) -> tuple[str, list[EpochRow]]:
    """The digest of the evaluated weights and the history; with `stop_at` the run is cut there and taken up anew."""
    with tempfile.TemporaryDirectory() as folder:
        if stop_at is not None:
            training = toy_training(method_class(config), Path(folder))
            asked = itertools.count(1)
            training.stop = lambda: _Stopped("stop") if next(asked) == stop_at else None
            try:
                train(training)
            except _Stopped:
                pass
            else:
                raise AssertionError("the run did not stop where it was asked to")
        training = toy_training(method_class(config), Path(folder))
        before = checkpoint_bytes(Checkpoint(tensors=dict(training.run.net.state_dict())))
        progress = train(training)
        evaluated = training.run.method.evaluation_net()
        after = checkpoint_bytes(Checkpoint(tensors=dict(evaluated.state_dict())))
        assert before != after, "training leaves the net as it was"
        return digest(after.hex()), progress.history


def _check_head(entry: Entry) -> str:
    head = entry.load()(12, INFO.n_classes)
    assert isinstance(head, Head), "it does not subclass ferbench.contract.head.Head"
    output = head(torch.randn(5, 12))
    assert isinstance(output, Output), f"forward gives {type(output).__name__}, not Output"
    assert output.logits.shape == (5, INFO.n_classes), (
        f"logits are {tuple(output.logits.shape)}, not (5, {INFO.n_classes})"
    )
    for name, value in output.extras.items():
        assert value.shape[:1] == (5,), f"extra '{name}' is {tuple(value.shape)}: one row per image is wanted"
    return "(5, 12) to (5, 3)"


def _check_backbone(entry: Entry) -> str:
    _, _, variant = entry.example.partition("/")
    backbone = entry.load()(BackboneRequest(variant, 32))
    features = backbone(torch.randn(2, 3, 32, 32))
    assert features.shape == (2, backbone.feature_size), f"features are {tuple(features.shape)}"
    return f"(2, 3, 32, 32) to {tuple(features.shape)}"


def _check_protocol(entry: Entry) -> str:
    protocol = entry.load()
    assert isinstance(protocol, Protocol), "it is no ferbench.contract.protocol.Protocol"
    assert "default" in protocol.recipes, "it has no 'default' recipe for datasets that it does not know"
    return f"recipes for {', '.join(protocol.recipes)}"
