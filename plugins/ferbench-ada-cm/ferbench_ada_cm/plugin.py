"""What this distribution registers with ferbench; imports nothing heavy."""

from ferbench.hookspecs import Register, hookimpl

PAPER = "Li et al., CVPR 2022, arXiv 2203.12341"


@hookimpl
def ferbench_register_methods(register: Register) -> None:
    """The method."""
    register(
        "ada-cm",
        "ferbench_ada_cm.method:AdaCM",
        summary="Confidence margins learned per class; feature contrast for images below them",
        paper=PAPER,
    )


@hookimpl
def ferbench_register_heads(register: Register) -> None:
    """Its head, for any method."""
    register(
        "ada-cm",
        "ferbench_ada_cm.head:NormalizedHead",
        summary="Dropout, unit-length features, one linear layer",
        paper=PAPER,
    )
