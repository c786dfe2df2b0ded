"""The registrations of this distribution; this module imports nothing heavy."""

from functools import partial

from ferbench.hookspecs import Register, hookimpl


@hookimpl
def ferbench_register_methods(register: Register) -> None:
    """Register the method."""
    register(
        "fr-pretrain-mixup",
        "ferbench_fr_pretrain_mixup.method:FRPretrainMixup",
        summary="Reconstruct masked faces, mix labeled faces by box overlap, use the EMA's pseudo-labels",
        paper="Song et al., 2024, arXiv 2410.17622",
    )


@hookimpl
def ferbench_register_tunings(register: Register) -> None:
    """Register the best options of the method's trials on rendered faces."""
    for protocol in ("ratio-v1", "count-v1", "external-v1", "subject-folds-v1"):
        tuned = partial(register, protocol, "synthfaces", trials=5, source="docs/tuning.md")
        # The decoder is small enough for training on one thread.
        sizes = {"pretraining": 6.0, "decoder_depth": 2, "normalize_patches": True}
        tuned({**sizes, "pretraining_rate": 1e-3, "finetuning_rate": 1e-3}, method="fr-pretrain-mixup")
