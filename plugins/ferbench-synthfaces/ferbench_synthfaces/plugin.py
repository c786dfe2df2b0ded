"""Registers two datasets, initial weights and a command with ferbench."""

from collections.abc import Callable

from ferbench.hookspecs import hookimpl


@hookimpl
def ferbench_register_datasets(register: Callable[..., None]) -> None:
    """The packaged datasets."""
    register(
        "synthfaces",
        "ferbench_synthfaces.dataset:SynthFaces",
        summary="Rendered 3D faces, 8 expressions, ships with the package (CC0)",
        api=1,
    )
    register(
        "synthfaces-fr",
        "ferbench_synthfaces.dataset:SynthFacesFR",
        summary="Unlabeled pool of other rendered people with mild expressions (CC0)",
        api=1,
    )


@hookimpl
def ferbench_register_weights(register: Callable[..., None]) -> None:
    """Face-recognition weights."""
    register(
        "synthfaces-id",
        "ferbench_synthfaces.weights:identity",
        summary="Tell rendered people apart; no expression label (CC0)",
        paper="loss: Deng et al., CVPR 2019",
        example="small-resnet/16",
        api=1,
    )


@hookimpl
def ferbench_register_commands(register: Callable[..., None]) -> None:
    """`ferbench synthfaces render`."""
    register(
        "synthfaces",
        "ferbench_synthfaces.command:synthfaces",
        summary="Render face sets of any size",
    )
