"""`ferbench export`: the model of a run as a file for other programs, or as a card for people."""

from pathlib import Path

import click

from ferbench.cli.session import Session

FORMATS = ("onnx", "safetensors", "card")


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--to", "kind", type=click.Choice(FORMATS), required=True, help="What to write.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The file to write.")
@click.pass_obj
def export(session: Session, model: Path, kind: str, out: Path) -> None:
    """Write the model of a run as one file.

    MODEL is a run (its record.json, its folder, or a folder with one run below it) or a file that was exported as
    safetensors. `onnx` has the normalisation inside: RGB pixels (N, S, S, 3) uint8 go in, logits and probabilities come
    out; it needs the extra `export`. `safetensors` has the tensors and the record, and `ferbench predict` and
    `ferbench.load_model` read it. Both have class names, sizes and normalisation in their metadata, and are compared
    with the model before they are written. `card` is the model card in Markdown.
    """
    from ferbench.execution.trained_model import load_model
    from ferbench.records.files import write_atomic

    loaded = load_model(model, registry=session.registry)
    if kind == "card":
        from ferbench.reporting.model_card import model_card

        write_atomic(out, model_card(loaded.record, session.registry))
        click.echo(out)
        return
    from ferbench.execution.export import onnx_bytes, safetensors_bytes

    content, difference = onnx_bytes(loaded) if kind == "onnx" else safetensors_bytes(loaded, session.registry)
    write_atomic(out, content)
    click.echo(f"{out}: {len(content) / 1e6:.1f} MB; its logits are those of the model to {difference:.1g}")
