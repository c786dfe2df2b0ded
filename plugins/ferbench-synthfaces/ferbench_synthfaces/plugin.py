"""What SynthFaces adds to ferbench: two datasets and a command."""

from collections.abc import Callable

from ferbench.hookspecs import hookimpl


@hookimpl
def ferbench_register_datasets(register: Callable[..., None]) -> None:
    """The packaged sets."""
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
def ferbench_register_commands(register: Callable[..., None]) -> None:
    """`ferbench synthfaces render`."""
    register(
        "synthfaces",
        "ferbench_synthfaces.command:synthfaces",
        summary="Render face sets of any size",
    )
