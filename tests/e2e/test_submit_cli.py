"""A submission from runs to the site: what stands goes to a branch of a clone, what does not is named."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ferbench.records.known import read_baselines
from tests.support.command import call, succeed
from tests.support.forgery import change
from tests.unit.records.factory import make_cell, write_failure, write_record

ROOT = Path(__file__).parents[2]
BOARD = ROOT / "leaderboard"
TABLE = Path("ratio-v1/synthfaces/ratio-0.05")
FIXMATCH, WEAK = TABLE / "fixmatch/small-resnet_16", TABLE / "supervised@weak/small-resnet_16"
SEEDS = (0, 1, 2, 4)
GIT = ("git", "-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main")


def git(*words: str, at: Path) -> str:
    return subprocess.run([*GIT, *words], cwd=at, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone whose board has the supervised row; the records of fixmatch lie in `runs`."""
    monkeypatch.chdir(tmp_path)
    for name, value in (("NAME", "A"), ("EMAIL", "a@example.org")):
        monkeypatch.setenv(f"GIT_AUTHOR_{name}", value)
        monkeypatch.setenv(f"GIT_COMMITTER_{name}", value)
    monkeypatch.setenv("FERBENCH_CACHE", str(tmp_path / "cache"))  # nothing is packed
    folder = tmp_path / "clone"
    shutil.copytree(BOARD / "pinned", folder / "leaderboard" / "pinned")
    shutil.copytree(BOARD / "records" / WEAK, folder / "leaderboard" / "records" / WEAK)
    shutil.copytree(BOARD / "records" / FIXMATCH, tmp_path / "runs" / FIXMATCH)
    baselines = {path: digest for path, digest in read_baselines(BOARD).items() if Path(path).parent == WEAK}
    (folder / "leaderboard" / "baselines.json").write_text(json.dumps(baselines))
    board = folder / "leaderboard"
    succeed("leaderboard", "build", "--records", str(board / "records"), "--out", str(board))
    git("init", "--quiet", at=folder)
    git("add", "--all", at=folder)
    git("commit", "--quiet", "--message", "Board", at=folder)
    return folder


def submitted(*words: str) -> "tuple[int, str]":
    done = call("leaderboard", "submit", "runs", "--into", "clone", *words)
    return done.code, done.out + done.err


@pytest.mark.slow
def test_a_row_goes_to_a_branch_with_the_text_of_the_request(clone: Path) -> None:
    head = git("rev-parse", "HEAD", at=clone)
    (Path("runs") / FIXMATCH / "seed0" / "model.safetensors").write_bytes(b"no model belongs in git")
    code, out = submitted("--branch", "ours")
    assert code == 0, out
    assert (git("rev-parse", "HEAD", at=clone), git("status", "--porcelain", at=clone)) == (head, "")
    assert git("worktree", "list", at=clone).count("\n") == 0
    names = git("diff", "--name-only", "main...ours", at=clone).splitlines()
    files = ("history.json", "predictions.parquet", "record.json")
    assert names == [f"leaderboard/records/{FIXMATCH}/seed{seed}/{name}" for seed in range(5) for name in files]
    text = Path("pull-request.md").read_text()
    assert text in out and "git switch ours" in out and "gh pr create" in out
    (line,) = [line for line in text.splitlines() if line.startswith("| new")]
    assert "fixmatch" in line and "#1: " in line
    # what the workflows do with it
    subprocess.run([ROOT / ".ci" / "records-only", "main", "ours"], cwd=clone, check=True)
    subprocess.run([ROOT / ".ci" / "take-records", "main", "ours"], cwd=clone, check=True)
    for path in (clone / "leaderboard" / "records" / FIXMATCH).rglob("*.*"):
        place = path.relative_to(clone / "leaderboard" / "records")
        assert path.read_bytes() == (BOARD / "records" / place).read_bytes()
    assert (
        call("leaderboard", "check", "--records", "clone/leaderboard/records", "--out", "clone/leaderboard").code == 5
    )
    git("checkout", "--quiet", "ours", "--force", at=clone)
    assert submitted() == (2, "error: clone already has all of these records; there is nothing to submit\n")


@pytest.mark.slow
def test_what_does_not_stand_is_named_with_the_reason_and_makes_no_branch(clone: Path) -> None:
    git("rm", "-r", "--quiet", "leaderboard/pinned", at=clone)  # the data of the made records is nobody's
    git("commit", "--quiet", "--message", "No pins", at=clone)
    runs = Path("runs")
    shutil.rmtree(runs / FIXMATCH / "seed3")
    write_record(runs, make_cell("leaf", overrides={"protocol": {"steps": 60}}))
    write_failure(runs, make_cell("dtm"), status="failed")
    forged = runs / FIXMATCH / "seed1" / "record.json"
    change(forged, lambda fields: fields["result"]["metrics"].update(accuracy=0.99))
    code, out = submitted()
    assert code == 5
    reasons = {}
    for line in out.splitlines():
        if line.startswith("runs/"):
            folder, reason = line.split(maxsplit=1)
            reasons[folder.removeprefix(f"runs/{TABLE}/")] = reason
    row = {
        f"fixmatch/small-resnet_16/seed{seed}": reasons.pop(f"fixmatch/small-resnet_16/seed{seed}") for seed in SEEDS
    }
    assert "accuracy" in row.pop("fixmatch/small-resnet_16/seed1")
    assert set(row.values()) == {"its row has no accepted record of seed 1, 3; run all seeds of ratio-v1"}
    assert sorted(reason.partition(";")[0] for reason in reasons.values()) == [
        "it ended as 'failed'",
        "it is not standard (overrides protocol.steps=60)",
    ]
    assert "none can be accepted" in out
    assert git("branch", at=clone) == "* main"
    assert not Path("pull-request.md").exists()


def test_a_clone_must_be_one_and_clean_and_the_branch_new(clone: Path) -> None:
    assert submitted("--branch", "main")[0] == 2
    assert submitted("--branch", "a..b")[0] == 2
    (clone / "note").write_text("unfinished")
    code, out = submitted()
    assert code == 2 and "uncommitted" in out
    done = call("leaderboard", "submit", "runs", "--into", "runs")
    assert done.code == 2 and "not a clone" in done.err


def test_records_and_other_files_are_two_requests(clone: Path) -> None:
    git("switch", "--quiet", "--create", "ours", at=clone)
    others = ("leaderboard/records/.gitattributes", "leaderboard/records/x/model.safetensors", "leaderboard/trust.json")
    for name in (*others, "leaderboard/records/x/record.json", "a\n::record.json"):
        (clone / name).parent.mkdir(exist_ok=True)
        (clone / name).write_text("{}")
    git("add", "--all", at=clone)
    git("commit", "--quiet", "--message", "Both", at=clone)
    done = subprocess.run([ROOT / ".ci" / "records-only", "main", "ours"], cwd=clone, capture_output=True, text=True)
    refused = [line.rpartition("and not ")[2] for line in done.stderr.splitlines()]
    assert (done.returncode, refused) == (1, ["$'a\\n::record.json'", *others])


@pytest.mark.slow
@pytest.mark.process
def test_make_board_verifies_builds_and_writes_the_site(clone: Path, tmp_path: Path) -> None:
    shutil.copytree("runs", clone / "leaderboard" / "records", dirs_exist_ok=True)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    words = ["make", "--old-file", "no-venv/.installed", "board", "VENV=no-venv", "ACTIVE="]
    words += [f"BOARD={clone / 'leaderboard'}", f"SITE={tmp_path / 'site'}"]
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "10 of 10 records without a failed check" in done.stdout
    assert (
        call("leaderboard", "check", "--records", "clone/leaderboard/records", "--out", "clone/leaderboard").code == 0
    )
    assert list((tmp_path / "site" / "1" / "rows").rglob("fixmatch*.html"))
    (clone / "leaderboard" / "records" / FIXMATCH / "seed0" / "record.json").write_text("{}")
    assert subprocess.run(words, cwd=ROOT, env=environment, capture_output=True).returncode == 2
