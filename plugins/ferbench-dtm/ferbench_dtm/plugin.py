"""What this distribution registers with ferbench; imports nothing heavy."""

from functools import partial

from ferbench.hookspecs import Register, hookimpl


@hookimpl
def ferbench_register_methods(register: Register) -> None:
    """The method."""
    register(
        "dtm",
        "ferbench_dtm.method:Dtm",
        title="DTM-like (reconstruction)",
        summary="DTM-like (reconstruction): per-class thresholds that rise as each class is learned",
        paper="after Yu et al., CVPRW 2023, arXiv 2303.08617, whose formula is not public",
    )


@hookimpl
def ferbench_register_tunings(register: Register) -> None:
    """The best of the method's trials on rendered faces."""
    for protocol in ("ratio-v1", "count-v1", "external-v1", "subject-folds-v1"):
        tuned = partial(register, protocol, "synthfaces", trials=5, source="docs/tuning.md")
        tuned({"balanced": False, "unlabeled_weight": 0.5}, method="dtm")
