"""The local executor's workers, its fork server and the command are killed at random."""

from pathlib import Path

import pytest

from tests.support.storms import Storm, calm, weather

pytestmark = pytest.mark.storm


def test_a_storm(tmp_path: Path) -> None:
    undisturbed = calm(tmp_path / "calm")
    storm = Storm(tmp_path / "storm", "--jobs", "3", "--retries", "50")
    kills = {"worker": lambda: storm.kill_one(storm.forks()), "server": lambda: storm.kill_one(storm.servers())}
    weather(storm, kills, ("worker", "server", "worker", "command", *["worker"] * 6), undisturbed)
