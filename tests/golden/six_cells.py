"""Whether a change of the code changes what a run gives: six short cells, all six methods of the first edition.

    python tests/golden/six_cells.py run FOLDER                  six cells of the code that is installed, on the CPU
    python tests/golden/six_cells.py compare BEFORE AFTER        exit code 1 unless the results are equal

Run it before a change and after it, on one machine, and compare. Model files must be equal byte for byte. Of results
and histories every field that BEFORE has must be equal; fields that only AFTER has are new, and are named.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CELLS = (
    ("--method", "supervised@strong"),
    ("--method", "fixmatch"),
    ("--method", "ada-cm"),
    ("--method", "leaf"),
    ("--method", "dtm@described", "--protocol", "external-v1", "--unlabeled", "rest+synthfaces-fr"),
    ("--method", "fr-pretrain-mixup", "--backbone", "small-vit"),
)
SHARED = ("--ratio", "0.05", "--seed", "0", "--set", "steps=120", "--device", "cpu", "--threads", "1")
# Digests of these change whenever a history or a result gains a field.
DIGESTS = ("history_digest",)


def run(folder: Path) -> None:
    """Run the cells with a stage cache of their own, so that no pre-training of another version is taken."""
    runs = folder / "runs"
    for cell in CELLS:
        subprocess.run(
            [sys.executable, "-m", "ferbench", "run", *cell, *SHARED, "--runs", str(runs)],
            env={**os.environ, "FERBENCH_CACHE": str(folder / "cache")},
            check=True,
        )


def differences(before: Path, after: Path) -> Iterator[str]:
    """What is not equal in two folders that `run` has written."""
    places = sorted(path.relative_to(before).parent for path in before.glob("runs/**/record.json"))
    if len(places) != len(CELLS):
        yield f"{before}: {len(places)} records, not {len(CELLS)}"
    for place in places:
        if not (after / place / "record.json").is_file():
            yield f"{place}: no record in {after}"
            continue
        digests = [_sha256(folder / place / "model.safetensors") for folder in (before, after)]
        if digests[0] != digests[1]:
            yield f"{place}: model.safetensors differs"
        results = [_without_digests(folder / place / "record.json") for folder in (before, after)]
        histories = [_json(folder / place / "history.json") for folder in (before, after)]
        yield from _lost(f"{place}: result", *results)
        yield from _lost(f"{place}: history", histories[0], histories[1])


def _lost(name: str, before: Any, after: Any) -> Iterator[str]:
    """Values of `before` that `after` has not."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            yield from _lost(f"{name}.{key}", value, after.get(key))
        if new := sorted(after.keys() - before.keys()):
            print(f"{name}: new: {', '.join(new)}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from _lost(f"{name}[{index}]", one, other)
    elif before != after:
        yield f"{name}: {before!r} became {after!r}"


def _without_digests(path: Path) -> dict[str, Any]:
    return {name: value for name, value in _json(path)["result"].items() if name not in DIGESTS}


def _json(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("run").add_argument("folder", type=Path)
    comparison = verbs.add_parser("compare")
    comparison.add_argument("before", type=Path)
    comparison.add_argument("after", type=Path)
    chosen = parser.parse_args()
    if chosen.verb == "run":
        run(chosen.folder.absolute())
        return 0
    found = list(differences(chosen.before, chosen.after))
    for line in found:
        print(line)
    print(f"{len(CELLS)} cells: {'equal' if not found else f'{len(found)} differences'}")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
