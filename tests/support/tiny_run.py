"""A run of seconds on the drawn set, for tests of what is done with its model."""

from pathlib import Path

from tests.support.command import succeed

SETTINGS = ("steps=40", "image_size=16", "labeled_batch=8", "unlabeled_batch=8")


def tiny_run(dataset: Path, runs: Path, *more: str) -> Path:
    """The record of a short supervised run in this process, whose model is not perfect."""
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    cell = ("--dataset", str(dataset), "--ratio", "0.1", "--backbone", "small-resnet/4", "--device", "cpu")
    succeed("run", *cell, *settings, "--method", "supervised", "--runs", str(runs), "--executor", "inline", *more)
    return next(runs.rglob("record.json"))


def runs_of(record: Path) -> Path:
    """The runs folder that a record lies in."""
    return next(parent for parent in record.parents if (parent / "ferbench-runs.json").exists())
