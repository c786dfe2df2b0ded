"""The registrations of this distribution; this module imports nothing heavy."""

from functools import partial

from ferbench.hookspecs import Register, hookimpl

OWNER = "code of that name, authorship not stated"


@hookimpl
def ferbench_register_methods(register: Register) -> None:
    """Register the method; its titles tell which variant is from the public code and which is ours."""
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
    """Register the best options of the reconstruction's trials on rendered faces; other variants are not tuned."""
    for protocol in ("ratio-v1", "count-v1", "external-v1", "subject-folds-v1"):
        tuned = partial(register, protocol, "synthfaces", trials=5, source="docs/tuning.md")
        tuned({"balanced": False, "unlabeled_weight": 0.5}, method="dtm", variant="described")
