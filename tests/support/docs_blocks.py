"""The code blocks of README, docs and the plugins' READMEs, and the commands in them."""

import re
import shlex
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/**/*.md", "plugins/*/README.md", "leaderboard/reported/README.md")
    for path in ROOT.glob(pattern)
)
BLOCK = re.compile(
    r"^(?: *<!-- not run: (?P<reason>.+?) -->\n)?"
    r"(?P<space> *)```(?P<language>\S*)\n(?P<text>.*?)^(?P=space)```$",
    re.MULTILINE | re.DOTALL,
)
ENDS = {"&&", "||", ";", "|", "(", ")", "&"}


@dataclass(frozen=True)
class Block:
    """A fenced block; `not_run` is why a test that follows the page does not run it."""

    page: str
    line: int
    language: str
    text: str
    not_run: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    def commands(self) -> Iterator[list[str]]:
        """The words of each command of a block of shell, without comments and what stands in here-documents."""
        text = re.sub(r"<<'END'\n.*?^END$", "", self.text, flags=re.MULTILINE | re.DOTALL)
        for line in text.replace("\\\n", " ").splitlines():
            lexer = shlex.shlex(line, posix=True, punctuation_chars="();|&")
            lexer.whitespace_split = True
            words: list[str] = []
            for word in [*lexer, ";"]:
                if word not in ENDS:
                    words.append(word)
                elif words:
                    yield words
                    words = []


def blocks(page: str) -> list[Block]:
    """The blocks of a page, in their order."""
    text = (ROOT / page).read_text("utf-8")
    return [
        Block(
            page,
            text.count("\n", 0, match.start("language")) + 1,
            match["language"],
            textwrap.dedent(match["text"]),
            match["reason"] or "",
        )
        for match in BLOCK.finditer(text)
    ]


ALL = [block for page in PAGES for block in blocks(page)]
