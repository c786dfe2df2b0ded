"""The checked records of a board, from which tables, trust and the site are made."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ferbench.cli.session import Session
from ferbench.errors import UsageError

if TYPE_CHECKING:
    from ferbench.records.agreement import Board
    from ferbench.records.verification import Verification


def verified_paths(session: Session, paths: Sequence[Path], out: Path) -> "tuple[list[Verification], Board]":
    """Check record files and folders of them. Returns the checks, and the facts that the board in `out` knows."""
    from ferbench.cells.fingerprints import recomputer
    from ferbench.cells.known import known, known_protocols
    from ferbench.leaderboard.baselines import board_of
    from ferbench.records.agreement import verify_all

    registry, board = session.registry, board_of(paths, out)
    return verify_all(paths, known_protocols(registry), recomputer(registry), known(registry, out), board), board


def verified(session: Session, records: Path, out: Path) -> "tuple[list[Verification], Board]":
    """Check every record below a folder. Returns the checks, and the facts that the board in `out` knows."""
    if not records.is_dir():
        raise UsageError(f"there is no folder {records.absolute()}; name the folder of the records with --records")
    return verified_paths(session, [records], out)
