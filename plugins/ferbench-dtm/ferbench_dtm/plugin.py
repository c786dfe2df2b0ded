"""What this distribution registers with ferbench; imports nothing heavy."""

from functools import partial

from ferbench.hookspecs import Register, hookimpl

OWNER = "code of that name, authorship not stated"


@hookimpl
def ferbench_register_methods(register: Register) -> None:
    """The method; its titles say what is whose."""
    register(
        "dtm",
        "ferbench_dtm.method:Dtm",
        titles={
            "from-code": f"DTM ({OWNER})",
            "described": "DTM-like (reconstruction of 0.1)",
            "released": f"DTM, released ({OWNER})",
        },
        summary=f"Class thresholds that follow the confidence on labeled images, after {OWNER}",
        paper="code: github.com/CZP-1/SSL-DTM; idea: Yu et al., CVPRW 2023, arXiv 2303.08617, text not readable",
    )


@hookimpl
def ferbench_register_tunings(register: Register) -> None:
    """The best of the reconstruction's trials on rendered faces; nobody has tuned what follows the code."""
    for protocol in ("ratio-v1", "count-v1", "external-v1", "subject-folds-v1"):
        tuned = partial(register, protocol, "synthfaces", trials=5, source="docs/tuning.md")
        tuned({"balanced": False, "unlabeled_weight": 0.5}, method="dtm", variant="described")
