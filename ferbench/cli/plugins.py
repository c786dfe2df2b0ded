"""`ferbench plugins`: list, check and create plugins."""

import os
from dataclasses import asdict
from pathlib import Path

import click

from ferbench.cli.output import print_json
from ferbench.cli.session import Session
from ferbench.discovery.loader import is_strict, load_registry
from ferbench.discovery.registration import SLOW_SECONDS
from ferbench.discovery.registry import KINDS, LoadedPlugin, PluginProblem, Registry, singular
from ferbench.errors import PluginError, UsageError
from ferbench.render.text import print_table


@click.group()
def plugins() -> None:
    """List, check or create plugins."""


@plugins.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def list_(ctx: click.Context, as_json: bool) -> None:
    """Show every plugin with what it provides, and every problem with its remedy.

    With FERBENCH_STRICT_PLUGINS=1 a problem makes the exit code 3.
    """
    # The table is most useful if problems are errors, so it is shown first and the problems are counted afterwards.
    found = load_registry({**os.environ, "FERBENCH_STRICT_PLUGINS": ""})
    if as_json:
        print_json(
            {
                "plugins": [_as_json(plugin, found) for plugin in found.plugins],
                "problems": [asdict(problem) for problem in found.problems],
            }
        )
    else:
        print_table(("plugin", "from", "provides"), (_row(plugin, found) for plugin in found.plugins))
        for problem in found.problems:
            _print_problem(problem)
    if found.problems and is_strict():
        ctx.exit(PluginError.exit_code)


KINDS_TO_BEGIN = ("method", "head", "backbone", "dataset", "protocol", "view", "executor", "command")


@plugins.command("new")
@click.argument("kind", type=click.Choice(KINDS_TO_BEGIN))
@click.argument("name")
@click.option(
    "--dir",
    "parent",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="Folder in which to create ferbench-NAME; the current folder if omitted.",
)
@click.pass_obj
def new(session: Session, kind: str, name: str, parent: Path) -> None:
    """Create the package ferbench-NAME: a working example of KIND with tests and CI, for you to edit."""
    from ferbench.cli.scaffold import EXAMPLES, write_plugin

    folder, registered = write_plugin(session.registry, kind, name, parent)
    click.echo(f"wrote {folder}")
    click.echo(f"next: pip install -e '{folder}[test]' && (cd {folder} && pytest)")
    click.echo(f"then: {EXAMPLES[kind].use.format(name=registered)}")


@plugins.command("check")
@click.argument("name")
@click.option("--slow", is_flag=True, help="Also run the checks that start processes: executors, and hash seeds.")
@click.option(
    "--root",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder with your copy of the dataset's images.",
)
@click.pass_context
def check(ctx: click.Context, name: str, slow: bool, root: Path | None) -> None:
    """Run the conformance checks on a plugin, or on the object registered as NAME. Exit code 3 if a check fails.

    For each failed check it shows what the check protects and how to repair the plugin. Warnings deserve a look.
    """
    from ferbench.conformance.checks import check_plugin

    results = check_plugin(name, ctx.find_object(Session).registry, slow=slow, root=root)  # type: ignore[union-attr]
    if not results:
        raise UsageError(f"nothing to check in '{name}'; `ferbench plugins list` shows what each plugin provides")
    print_table(("check", "result", "detail"), ((r.name, _SHOWN[r.outcome], r.detail) for r in results))
    told: list[str] = []
    for result in (result for result in results if not result.ok):
        # One mistake fails several checks. The remedy is that of the first one.
        if any(result.detail.endswith(earlier) or earlier.endswith(result.detail) for earlier in told):
            click.echo(f"\n{result.name}\n   what: the same")
        else:
            click.echo(f"\n{result.name}\n   what: {result}")
            told.append(result.detail)
    if not all(result.ok for result in results):
        ctx.exit(PluginError.exit_code)


_SHOWN = {"ok": "ok", "warning": "warning", "failed": "FAILED"}


def _provides(plugin: LoadedPlugin, found: Registry) -> dict[str, list[str]]:
    usable = [entry for entry in plugin.entries if found.entries[entry.kind].get(entry.name) is entry]
    owned = {kind: [entry.name for entry in usable if entry.kind == kind] for kind in KINDS}
    return {kind: names for kind, names in owned.items() if names}


def _as_json(plugin: LoadedPlugin, found: Registry) -> dict[str, object]:
    return {
        "name": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "module": plugin.module,
        "hooks": plugin.hooks,
        "seconds": round(plugin.seconds, 3),
        "provides": _provides(plugin, found),
        "tunings": [asdict(tuning) for tuning in plugin.tunings if tuning in found.tunings],
    }


def _row(plugin: LoadedPlugin, found: Registry) -> tuple[str, str, str]:
    provides = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in _provides(plugin, found).items())
    tuned: dict[tuple[str, str], list[str]] = {}
    for tuning in (each for each in plugin.tunings if each in found.tunings):
        what = f"{singular(tuning.kind)} {tuning.name} for {tuning.family} ({tuning.trials} trials)"
        alone = f", of variant {tuning.variant} alone" if tuning.variant else ""
        tuned.setdefault((what, alone), []).append(tuning.protocol)
    tunings = "; ".join(f"{what} in {', '.join(protocols)}{alone}" for (what, alone), protocols in tuned.items())
    events = ", ".join(hook.removeprefix("ferbench_") for hook in plugin.events)
    slow = f"takes {plugin.seconds:.1f} s to import" if plugin.seconds >= SLOW_SECONDS else ""
    parts = (provides, tunings and f"tunings: {tunings}", events and f"listens to {events}", slow)
    return plugin.name, f"{plugin.distribution} {plugin.version}", "; ".join(filter(None, parts)) or "nothing"


def _print_problem(problem: PluginProblem) -> None:
    click.echo(f"\nproblem: plugin '{problem.plugin}' of {problem.distribution} {problem.version}")
    click.echo(f"   what: {problem.message}")
    click.echo(f" remedy: {problem.remedy}")
