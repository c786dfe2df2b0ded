"""`ferbench plugins list` shows what is tuned, and in how many trials."""

import json

from click.testing import CliRunner

from ferbench.cli.plugins import plugins


def test_tunings_are_listed_with_their_owner_and_trials() -> None:
    shown = CliRunner().invoke(plugins, ["list", "--json"])
    found = {plugin["distribution"]: plugin["tunings"] for plugin in json.loads(shown.output)["plugins"]}
    (ratio,) = [tuning for tuning in found["ferbench-dtm"] if tuning["protocol"] == "ratio-v1"]
    assert (ratio["name"], ratio["family"], ratio["trials"], ratio["source"]) == (
        "dtm",
        "synthfaces",
        5,
        "docs/tuning.md",
    )
    assert ratio["options"] == {"balanced": False, "unlabeled_weight": 0.5}
    assert found["ferbench-synthfaces"] == []
    table = CliRunner().invoke(plugins, ["list"]).output
    assert "tunings: method dtm for synthfaces (5 trials) in ratio-v1, count-v1" in table
