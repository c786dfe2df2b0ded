"""Report whether this machine renders the reference pixels; `--write` replaces the reference.

python tools/check_reproducibility.py
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ferbench_synthfaces.render.reference import compare_with_reference, write_reference

FOLDER = Path(__file__).parents[1] / "tests" / "reference"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="replace the reference by this machine's pixels")
    if parser.parse_args().write:
        FOLDER.mkdir(exist_ok=True)
        write_reference(FOLDER)
    print(compare_with_reference(FOLDER))


if __name__ == "__main__":
    main()
