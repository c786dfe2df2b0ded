"""Render the shipped files: both datasets, and the face sheet of the data card.

    python tools/render_shipped.py [--workers 2]

The seed is used for nothing else: development datasets have other seeds.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ferbench_synthfaces.dataset import packaged
from ferbench_synthfaces.render.plan import SetPlan
from ferbench_synthfaces.render.progress import report_progress
from ferbench_synthfaces.render.render_set import render_set
from ferbench_synthfaces.render.sheet import face_sheet

SEED = 20261
LEVEL = "standard"
PLANS = (
    SetPlan("synthfaces", SEED, size=64, train=8250, test=3100, pool=0, level=LEVEL),
    SetPlan("synthfaces-fr", SEED, size=64, train=0, test=0, pool=8000, level=LEVEL),
)
SHEET = Path(__file__).parents[1] / "docs" / "face_sheet.png"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=1, help="processes")
    workers = parser.parse_args().workers
    for plan in PLANS:
        with report_progress(plan.splits) as progress:
            render_set(plan, packaged(plan.name), workers, progress)
    face_sheet(LEVEL, SEED).save(SHEET, optimize=True)
    shipped = sum(path.stat().st_size for path in packaged("").rglob("*.parquet"))
    print(f"{shipped / 1e6:.1f} MB of Parquet")


if __name__ == "__main__":
    main()
