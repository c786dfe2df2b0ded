"""The registrations of this distribution; this module imports nothing heavy."""

from functools import partial

from ferbench.hookspecs import Register, hookimpl

PAPER = "Li et al., CVPR 2022, arXiv 2203.12341"


@hookimpl
def ferbench_register_methods(register: Register) -> None:
    """Register the method."""
    register(
        "ada-cm",
        "ferbench_ada_cm.method:AdaCM",
        summary="Confidence margins learned per class; feature contrast for images below their margin",
        paper=PAPER,
    )


@hookimpl
def ferbench_register_heads(register: Register) -> None:
    """Register its head, for any method."""
    register(
        "ada-cm",
        "ferbench_ada_cm.head:NormalizedHead",
        summary="Dropout, unit-length features, one linear layer",
        paper=PAPER,
    )


@hookimpl
def ferbench_register_tunings(register: Register) -> None:
    """Register the best options of the method's trials on rendered faces, also for the head."""
    for protocol in ("ratio-v1", "count-v1", "external-v1", "subject-folds-v1"):
        tuned = partial(register, protocol, "synthfaces", trials=5, source="docs/tuning.md")
        options = {"dropout": 0.0, "contrast_weight": 0.002, "margin": {"floor": 0.7, "decay": 0.85}}
        tuned(options, method="ada-cm")
        tuned({"dropout": 0.0}, head="ada-cm")
