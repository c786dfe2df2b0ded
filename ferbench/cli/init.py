"""`ferbench init inspect`: show the content of a file of initial weights, and how it fits a backbone."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ferbench.cli.output import print_json
from ferbench.cli.session import Session
from ferbench.errors import DataError, FerbenchError, UsageError
from ferbench.render.numbers import counted
from ferbench.render.text import print_table

if TYPE_CHECKING:
    from ferbench.contract.weights import Match
    from ferbench.weights.files import State


@click.group()
def init() -> None:
    """Inspect files of initial weights, as `ferbench run --init` takes them."""


@init.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--backbone", metavar="NAME", help="Backbone to compare the tensors with, such as timm/resnet18.")
@click.option(
    "--image-size",
    default=112,
    show_default=True,
    type=click.IntRange(1),
    metavar="PIXELS",
    help="Image size in pixels; position embeddings are interpolated to it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@click.pass_obj
def inspect(session: Session, file: Path, backbone: str | None, image_size: int, as_json: bool) -> None:
    """Show the SHA-256 of FILE, its content, and how each tensor fits a backbone. No code in the file is executed. The
    exit code is 4 if the file cannot be read safely or does not fit.
    """
    # Not at the top: help must not wait for torch.
    from ferbench.records.files import file_digest
    from ferbench.weights import read_states

    states, sha256 = read_states(file), file_digest(file)
    match, problem = _fit(session, file, backbone, image_size) if backbone else (None, None)
    if as_json:
        print_json(
            {
                "file": str(file),
                "sha256": sha256,
                "states": [_described(place, state) for place, state in states.items()],
                "backbone": backbone,
                "fits": None if backbone is None else problem is None,
                "problem": str(problem) if problem else None,
                "match": asdict(match) | {"file": str(match.file)} if match else None,
            }
        )
    else:
        _print(file, sha256, states, match)
        if backbone and not match and not problem:
            click.echo(f"'{backbone}' takes this file; its builder does not say which tensors")
    if problem:
        raise problem


def _fit(session: Session, file: Path, backbone: str, image_size: int) -> "tuple[Match | None, FerbenchError | None]":
    from ferbench.contract.weights import WeightsMismatch
    from ferbench.execution.nets import check_backbone, check_init

    check_backbone(session.registry, backbone, image_size)
    try:
        return check_init(session.registry, backbone, image_size, str(file)), None
    except WeightsMismatch as error:
        return error.match, error
    except (DataError, UsageError) as error:
        return None, error


def _described(place: str, state: "State") -> dict[str, Any]:
    from ferbench.weights import layout_of

    shapes = {key: tuple(tensor.shape) for key, tensor in state.items()}
    layout = layout_of(shapes)
    return {
        "place": place,
        "layout": layout.name if layout else None,
        "backbone": layout.backbone or None if layout else None,
        "advice": layout.advice() if layout else None,
        "tensors": {key: list(shape) for key, shape in shapes.items()},
    }


def _print(file: Path, sha256: str, states: "Mapping[str, State]", match: "Match | None") -> None:
    click.echo(f"{file}\nsha256:{sha256}")
    for place, state in states.items():
        found = _described(place, state)
        what = f"{found['layout']}; {found['advice']}" if found["layout"] else "in a layout that ferbench does not know"
        where = f"below '{place}'" if place else "at the top"
        click.echo(f"{where}: {counted(len(state), 'tensor')}, {what}")
    if match:
        print_table(("tensor", "state", "detail"), _rows(match))
        click.echo(match.summary())
    elif len(states) == 1:
        print_table(
            ("tensor", "shape"),
            [(key, "x".join(map(str, tensor.shape)) or "one number") for key, tensor in state.items()],
        )


def _rows(match: "Match") -> Iterator[tuple[str, str, str]]:
    yield from ((name, "missing", "") for name in match.missing)
    yield from ((name, "FAILED", both) for name, both in match.misshapen.items())
    yield from ((name, "adapted", how) for name, how in match.adapted.items())
    yield from ((name, "matched", "") for name in match.matched)
    yield from ((name, "left over", "") for name in match.left_over)
