"""`ferbench audit`: check whether a method's run depends on labels or test images that it must not see."""

import tempfile
from pathlib import Path

import click

from ferbench.cli.completion import datasets, names_of
from ferbench.cli.session import Session
from ferbench.errors import VerificationError

CAUTION = "This is evidence against accidental and simple leaks, not a proof: code can recognise an audit."


@click.command()
@click.argument("method", shell_complete=names_of("methods"))
@click.option(
    "--dataset", default="synthfaces", show_default=True, help="Dataset, by name or folder.", shell_complete=datasets
)
@click.option("--ratio", default="0.05", show_default=True, help="Share of the labels that the method gets.")
@click.option("--steps", default=60, show_default=True, type=click.IntRange(min=20), help="Steps of each run.")
@click.option("--backbone", help="Backbone, if not the protocol's.", shell_complete=names_of("backbones"))
@click.option("--init", default="scratch", show_default=True, metavar="FILE", help="Initial weights of the backbone.")
@click.pass_obj
def audit(session: Session, method: str, dataset: str, ratio: str, steps: int, backbone: str | None, init: str) -> None:
    """Train a method twice, the second time with other hidden labels, and require equal results.

    METHOD is a row such as `fixmatch` or `supervised@strong`. The second copy of the dataset has permuted labels of
    the unlabeled images and other test images; labeled images, pool and rows are the same. Nets, the method's state
    and pseudo-labels must be equal, bit for bit; the exit code is 5 if they are not.
    """
    from ferbench.cells.request import RunRequest
    from ferbench.execution.audit import audit as audit_job
    from ferbench.execution.plan import make_plan
    from ferbench.execution.stopping import StopRequests

    stop = StopRequests()
    with tempfile.TemporaryDirectory(prefix="ferbench-audit-") as folder, stop.heeding_signals():
        request = RunRequest(
            methods=[method],
            datasets=[dataset],
            ratios=[ratio],
            backbones=[backbone] if backbone else (),
            init=init,
            overrides={"steps": steps, "evaluations": 2},
            device="cpu",
            runs=Path(folder) / "runs",
        )
        (item,) = make_plan(request, session.registry, check_data=False)
        differences = audit_job(item.job, session.registry, Path(folder), lambda event: None, stop)
    if differences:
        raise VerificationError(
            f"'{method}' depends on what it must not see: with other labels of unlabeled images and other test images, "
            f"{', '.join(differences)} differ; find what reads labels, files of datasets or test images"
        )
    click.echo(f"'{method}': {steps} steps twice, with other hidden labels and test images: equal, bit for bit.")
    click.echo(CAUTION)
