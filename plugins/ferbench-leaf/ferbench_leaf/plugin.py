"""What this distribution registers with ferbench; imports nothing heavy."""

from ferbench.hookspecs import Register, hookimpl

PAPER = "Zhang et al., CVIU 2025, arXiv 2404.15041"


@hookimpl
def ferbench_register_methods(register: Register) -> None:
    """The method."""
    register(
        "leaf",
        "ferbench_leaf.method:Leaf",
        summary="Gated features at semantic and instance level, ambiguous pseudo-labels at category level",
        paper=PAPER,
    )


@hookimpl
def ferbench_register_heads(register: Register) -> None:
    """Its semantic and instance levels, for any method."""
    register(
        "leaf",
        "ferbench_leaf.head:LeafHead",
        summary="Mixtures of experts around unit-length features, fused with what all images share",
        paper=PAPER,
    )
