"""What this distribution registers with ferbench; imports nothing heavy."""

from ferbench.hookspecs import Register, hookimpl


@hookimpl
def ferbench_register_methods(register: Register) -> None:
    """The method."""
    register(
        "fr-pretrain-mixup",
        "ferbench_fr_pretrain_mixup.method:FRPretrainMixup",
        summary="Reconstruct masked faces, mix labeled faces by the overlap of their boxes, pseudo-label by EMA",
        paper="Song et al., 2024, arXiv 2410.17622",
    )
