"""What this distribution registers with ferbench; imports nothing heavy."""

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
