"""The plugin from outside: ferbench's own checks, and what it says of a backbone without patches."""

import subprocess
import sys


def ferbench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "ferbench", *arguments], capture_output=True, text=True)


def test_conformance() -> None:
    done = ferbench("plugins", "check", "fr-pretrain-mixup")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_hooks_import_nothing_heavy() -> None:
    code = (
        "import sys, ferbench_fr_pretrain_mixup.plugin; "
        "print(sorted({'torch', 'pandas', 'pydantic', 'timm'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_backbone_without_patches_is_refused_when_planning() -> None:
    done = ferbench(
        "run", "--method", "fr-pretrain-mixup", "--ratio", "0.05", "--backbone", "small-resnet", "--dry-run"
    )
    assert done.returncode == 2
    assert "is not made of patches" in " ".join((done.stdout + done.stderr).split())
