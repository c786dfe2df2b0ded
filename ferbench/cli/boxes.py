"""`ferbench boxes`: find the faces of a dataset that has no boxes."""

import sys

import click

from ferbench.cli.completion import datasets
from ferbench.cli.session import Session


@click.command("boxes")
@click.argument("dataset", shell_complete=datasets)
@click.pass_obj
def boxes(session: Session, dataset: str) -> None:
    """Find the face in every image of DATASET that has no face box, and keep the boxes in the cache.

    Methods that use boxes (fr-pretrain-mixup) then read them. An image keeps the central box if no face or several
    faces are found. Needs scikit-image: pip install 'ferbench[boxes]'.
    """
    # Not at the top: help must not wait for pyarrow.
    from ferbench.data.prepare.face_boxes import boxes_path, find_boxes
    from ferbench.data.sources import open_dataset

    source = open_dataset(session.registry, dataset)
    looked = found = 0
    for looked, found in find_boxes(source):
        if sys.stderr.isatty():
            click.echo(f"\r{looked} images without a box; a face was found in {found}", nl=False, err=True)
    if sys.stderr.isatty():
        click.echo(err=True)
    name = source.info.name
    if not looked:
        click.echo(f"every image of '{name}' has a box; there is nothing to do")
        return
    others = looked - found
    click.echo(f"{looked} images of '{name}' without a box: one face found in {found}, none or several in {others}")
    click.echo(f"kept in {boxes_path(name, source.source_digest())}")
