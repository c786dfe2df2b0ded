"""What this distribution registers with ferbench; imports nothing heavy."""

from ferbench.hookspecs import Register, hookimpl


@hookimpl
def ferbench_register_methods(register: Register) -> None:
    """The methods, in the order of their papers."""
    register(
        "pseudo-label",
        "ferbench_ssl_baselines.pseudo_label:PseudoLabel",
        summary="The class that the net predicts for an image is its label",
        paper="Lee, ICML workshops 2013",
    )
    register(
        "pi-model",
        "ferbench_ssl_baselines.pi_model:PiModel",
        summary="Two views of an image have one prediction",
        paper="Laine and Aila, ICLR 2017, arXiv 1610.02242",
    )
    register(
        "mean-teacher",
        "ferbench_ssl_baselines.mean_teacher:MeanTeacher",
        summary="The average of past nets says what to predict",
        paper="Tarvainen and Valpola, NeurIPS 2017, arXiv 1703.01780",
    )
    register(
        "vat",
        "ferbench_ssl_baselines.vat:Vat",
        summary="Predictions resist the perturbation that moves them most",
        paper="Miyato et al., TPAMI 2018, arXiv 1704.03976",
    )
    register(
        "mixmatch",
        "ferbench_ssl_baselines.mixmatch:MixMatch",
        summary="Sharpened guesses of two views, mixed with labels",
        paper="Berthelot et al., NeurIPS 2019, arXiv 1905.02249",
    )
    register(
        "uda",
        "ferbench_ssl_baselines.uda:Uda",
        summary="Sharpened confident predictions train strong views",
        paper="Xie et al., NeurIPS 2020, arXiv 1904.12848",
    )
    register(
        "remixmatch",
        "ferbench_ssl_baselines.remixmatch:ReMixMatch",
        summary="Aligned guesses train mixed strong views; rotations too",
        paper="Berthelot et al., ICLR 2020, arXiv 1911.09785",
    )
    register(
        "flexmatch",
        "ferbench_ssl_baselines.flexmatch:FlexMatch",
        summary="FixMatch with a lower threshold for classes learned less",
        paper="Zhang et al., NeurIPS 2021, arXiv 2110.08263",
    )
    register(
        "dash",
        "ferbench_ssl_baselines.dash:Dash",
        summary="Images count while their loss is below a falling bound",
        paper="Xu et al., ICML 2021, arXiv 2109.00650",
    )
    register(
        "adamatch",
        "ferbench_ssl_baselines.adamatch:AdaMatch",
        summary="FixMatch, threshold and proportions from labeled images",
        paper="Berthelot et al., ICLR 2022, arXiv 2106.04732",
    )
