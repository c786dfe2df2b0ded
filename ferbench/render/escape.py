"""Escape untrusted text: text of a record must never become markup, a link, a formula or a control code."""

import re
import shlex
import unicodedata
from collections.abc import Iterable

# Longest names and longest sentences, in characters.
LONGEST = 200
LONG = 5000

# Control codes drive terminals, format characters can reverse the reading order, the others break lines.
_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "&#64;"}
_MARKS = re.compile(r"([\\`*_\[\]|~$])")
# At the beginning of a line, these make a heading or a list; a lone "#" is the title of a column.
_LEADING = re.compile(r"^(#{1,6}|[-+])(?= )")
_LINKS = re.compile(r"(?i)(://|\bwww\.|\bmailto:)")
_FORMULA = ("=", "+", "-", "@")
_LATEX = str.maketrans(
    {
        **{char: f"\\{char}" for char in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "`": r"\textasciigrave{}",
        # At the beginning of a row, "\\" of the row before would take these as its arguments.
        "[": "{[}",
        "*": "{*}",
    }
)


def plain(text: str, longest: int = LONGEST) -> str:
    """One line of visible characters, at most `longest` of them."""
    line = " ".join(_visible(text).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def markdown(text: str, longest: int = LONGEST) -> str:
    """The text as Markdown that shows it literally, also inside a table."""
    marked = _LEADING.sub(r"\\\1", _MARKS.sub(r"\\\1", plain(text, longest)))
    entities = "".join(_ENTITIES.get(char, char) for char in marked)
    # GitHub turns bare addresses into links
    return _LINKS.sub(lambda match: match[0].replace(":", "&#58;").replace(".", "&#46;"), entities)


def latex(text: str, longest: int = LONGEST) -> str:
    """The text as LaTeX that prints it literally, also in a table, a caption or a comment."""
    return re.sub("-(?=-)", "-{}", plain(text, longest).translate(_LATEX))  # two hyphens must not become a dash


def csv_field(text: str, longest: int = LONGEST) -> str:
    """The text as a CSV value that spreadsheets do not read as a formula."""
    return _no_formula(plain(text, longest))


def csv_path(text: str) -> str:
    """A path, or a sentence with a path, as a CSV value; its spaces are kept."""
    return _no_formula(_visible(text)[:LONG])


def shell(words: Iterable[str]) -> str:
    """The words as a whole command to copy into a shell, with their spaces; control codes become spaces."""
    return shlex.join(_visible(word) for word in words)


def _visible(text: str) -> str:
    return "".join(" " if unicodedata.category(char) in _INVISIBLE else char for char in text)


def _no_formula(line: str) -> str:
    return f"'{line}" if line.lstrip().startswith(_FORMULA) else line
