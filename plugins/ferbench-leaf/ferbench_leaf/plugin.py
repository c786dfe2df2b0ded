"""The registrations of this distribution; this module imports nothing heavy."""

from functools import partial

from ferbench.hookspecs import Register, hookimpl

PAPER = "Zhang et al., CVIU 2025, arXiv 2404.15041"


@hookimpl
def ferbench_register_methods(register: Register) -> None:
    """Register the method."""
    register(
        "leaf",
        "ferbench_leaf.method:Leaf",
        summary="Gated features at semantic and instance level, ambiguous pseudo-labels at category level",
        paper=PAPER,
    )


@hookimpl
def ferbench_register_heads(register: Register) -> None:
    """Register its semantic and instance levels as a head, for any method."""
    register(
        "leaf",
        "ferbench_leaf.head:LeafHead",
        summary="Mixtures of experts around unit-length features, fused with a common expert",
        paper=PAPER,
    )


@hookimpl
def ferbench_register_tunings(register: Register) -> None:
    """Register the best options of the method's trials on rendered faces, also for the head."""
    for protocol in ("ratio-v1", "count-v1", "external-v1", "subject-folds-v1"):
        tuned = partial(register, protocol, "synthfaces", trials=5, source="docs/tuning.md")
        options = {"head": {"dropout": 0.0}, "contrast_weight": 0.002, "margin": {"floor": 0.7, "decay": 0.85}}
        tuned(options, method="leaf")
        tuned({"dropout": 0.0}, head="leaf")
