"""`ferbench export`: the model of a run as a file for other programs, or as a card for people."""

from pathlib import Path

import click

from ferbench.cli import completion
from ferbench.cli.session import Session

FORMATS = ("onnx", "safetensors", "card")


@click.command()
@click.argument("model", type=click.Path(path_type=Path), shell_complete=completion.runs)
@click.option("--to", "kind", type=click.Choice(FORMATS), required=True, help="What to write.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The file to write.")
@click.pass_obj
def export(session: Session, model: Path, kind: str, out: Path) -> None:
    """Write the model of a run as one file.

    MODEL is a run (its record.json, its folder, or a folder with one run below it) or a file that was exported as
    safetensors. `onnx` includes the normalisation: the input is RGB pixels (N, S, S, 3) uint8, the outputs are logits
    and probabilities. It needs the extra `export`. `safetensors` contains the tensors and the record; `ferbench
    predict` and `ferbench.load_model` read it. Both contain class names, sizes and normalisation as metadata. Their
    logits are compared with the model's before the file is written. `card` is the model card in Markdown.
    """
    from ferbench.execution.trained_model import load_model
    from ferbench.records.files import write_out

    loaded = load_model(model, registry=session.registry)
    if kind == "card":
        from ferbench.reporting.model_card import model_card

        write_out(out, model_card(loaded.record, session.registry))
        click.echo(out)
        return
    from ferbench.execution.export import onnx_bytes, safetensors_bytes

    content, difference = onnx_bytes(loaded) if kind == "onnx" else safetensors_bytes(loaded, session.registry)
    write_out(out, content)
    click.echo(f"{out}: {len(content) / 1e6:.1f} MB; its logits are those of the model to {difference:.1g}")
