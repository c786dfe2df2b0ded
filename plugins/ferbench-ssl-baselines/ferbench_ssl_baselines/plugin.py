"""The registrations of this distribution; this module imports nothing heavy."""

from ferbench.hookspecs import Register, hookimpl


@hookimpl
def ferbench_register_methods(register: Register) -> None:
    """Register the methods, in the order of their papers."""
    register(
        "pseudo-label",
        "ferbench_ssl_baselines.pseudo_label:PseudoLabel",
        summary="The net's prediction for an image serves as its label",
        paper="Lee, ICML workshops 2013",
    )
    register(
        "pi-model",
        "ferbench_ssl_baselines.pi_model:PiModel",
        summary="Two views of an image should have the same prediction",
        paper="Laine and Aila, ICLR 2017, arXiv 1610.02242",
    )
    register(
        "mean-teacher",
        "ferbench_ssl_baselines.mean_teacher:MeanTeacher",
        summary="The average of past nets predicts the targets",
        paper="Tarvainen and Valpola, NeurIPS 2017, arXiv 1703.01780",
    )
    register(
        "vat",
        "ferbench_ssl_baselines.vat:Vat",
        summary="Predictions resist the perturbation that changes them most",
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
        summary="FixMatch with lower thresholds for less learned classes",
        paper="Zhang et al., NeurIPS 2021, arXiv 2110.08263",
    )
    register(
        "dash",
        "ferbench_ssl_baselines.dash:Dash",
        summary="Images count if their loss is below a falling threshold",
        paper="Xu et al., ICML 2021, arXiv 2109.00650",
    )
    register(
        "adamatch",
        "ferbench_ssl_baselines.adamatch:AdaMatch",
        summary="FixMatch; labeled images set threshold and proportions",
        paper="Berthelot et al., ICLR 2022, arXiv 2106.04732",
    )
    register(
        "comatch",
        "ferbench_ssl_baselines.comatch:CoMatch",
        summary="Pseudo-labels and embeddings correct each other by a memory",
        paper="Li et al., ICCV 2021, arXiv 2011.11183",
    )
    register(
        "simmatch",
        "ferbench_ssl_baselines.simmatch:SimMatch",
        summary="Views agree in class and similarity to labeled images",
        paper="Zheng et al., CVPR 2022, arXiv 2203.06915",
    )
    register(
        "ccssl",
        "ferbench_ssl_baselines.ccssl:CCSSL",
        summary="FixMatch; images with the same pseudo-label attract",
        paper="Yang et al., CVPR 2022, arXiv 2203.02261",
    )
    register(
        "freematch",
        "ferbench_ssl_baselines.freematch:FreeMatch",
        summary="FixMatch with adaptive class thresholds and a fairness loss",
        paper="Wang et al., ICLR 2023, arXiv 2205.07246",
    )
    register(
        "softmatch",
        "ferbench_ssl_baselines.softmatch:SoftMatch",
        summary="FixMatch with Gaussian weights instead of a threshold",
        paper="Chen et al., ICLR 2023, arXiv 2301.10921",
    )
    register(
        "noisy-student",
        "ferbench_ssl_baselines.noisy_student:NoisyStudent",
        summary="Noisy students learn their teacher's labels for the pool",
        paper="Xie et al., CVPR 2020, arXiv 1911.04252",
    )
    register(
        "meta-pseudo-labels",
        "ferbench_ssl_baselines.meta_pseudo_labels:MetaPseudoLabels",
        summary="A tutor learns which of its labels helped the student",
        paper="Pham et al., CVPR 2021, arXiv 2003.10580",
    )
    register(
        "debiaspl",
        "ferbench_ssl_baselines.debiaspl:DebiasPL",
        summary="FixMatch without the net's bias towards some classes",
        paper="Wang et al., CVPR 2022, arXiv 2201.01490",
    )
    register(
        "crest",
        "ferbench_ssl_baselines.crest:CReST",
        summary="FixMatch in generations; rare classes gain the most labels",
        paper="Wei et al., CVPR 2021, arXiv 2102.09559",
    )
    register(
        "bitfit",
        "ferbench_ssl_baselines.bitfit:BitFit",
        summary="Labels only: trains the biases of initial weights",
        paper="Ben Zaken et al., ACL 2022, arXiv 2106.10199",
    )
    register(
        "lora",
        "ferbench_ssl_baselines.lora:LoRA",
        summary="Labels only: trains low-rank changes of initial weights",
        paper="Hu et al., ICLR 2022, arXiv 2106.09685",
    )
