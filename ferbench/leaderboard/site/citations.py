"""BibTeX of an edition, and of the papers whose values it shows."""

from urllib.parse import quote

from ferbench.leaderboard.reported import Origin
from ferbench.leaderboard.tables import Board
from ferbench.render.escape import LONG, latex
from ferbench.render.numbers import counted

IN_ADDRESS = "/:?#[]@!$&'()*+,;=%~"
"""Characters of an address that are not quoted. Braces are not among them: they would end the entry."""


def render_bibtex(board: Board, edition: str, digest: str) -> bytes:
    """One entry for the board, identified by the SHA-256 of its leaderboard.json, and one for each paper."""
    own = _entry(
        f"ferbench-{edition}",
        author="{The ferbench developers}",
        title=f"{{ferbench leaderboard, edition {latex(edition)}}}",
        note=f"{counted(board.records, 'record')}; SHA-256 of leaderboard.json: {digest}",
    )
    entries = [own, *(_paper(number, origin) for number, origin in enumerate(origins(board), 1))]
    return "\n\n".join(entries).encode("utf-8", "replace") + b"\n"


def origins(board: Board) -> tuple[Origin, ...]:
    """The origins of the published values, one for each paper."""
    values = [*(value for table in board.tables for value in table.published), *board.not_reproduced]
    by_paper = {value.block.origin.citation: value.block.origin for value in reversed(values)}
    return tuple(by_paper[name] for name in sorted(by_paper))


def _paper(number: int, origin: Origin) -> str:
    address = quote(origin.address, safe=IN_ADDRESS)
    return _entry(
        f"published-{number}", title=f"{{{latex(origin.citation, LONG)}}}", howpublished=f"\\url{{{address}}}"
    )


def _entry(key: str, **fields: str) -> str:
    lines = [f"@misc{{{key}", *(f"  {name} = {{{value}}}" for name, value in fields.items())]
    return ",\n".join(lines) + "\n}"
