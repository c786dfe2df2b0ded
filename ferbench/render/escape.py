"""Strings of strangers in outputs: what a record says must never become markup, a link, a formula or a control code."""

import re
import unicodedata

# Names and sentences, in characters.
LONGEST = 200
LONG = 5000

# Control codes drive terminals, format characters turn reading order around, the others break lines.
_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "&#64;"}
_MARKS = re.compile(r"([\\`*_\[\]|~])")
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
        # "\\" at the end of a row would take these, at the beginning of the next, for its arguments
        "[": "{[}",
        "*": "{*}",
    }
)


def plain(text: str, longest: int = LONGEST) -> str:
    """One line of visible characters, of bounded length."""
    line = " ".join(_visible(text).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def markdown(text: str, longest: int = LONGEST) -> str:
    """The text as Markdown that shows exactly it, also inside a table."""
    marked = _MARKS.sub(r"\\\1", plain(text, longest))
    entities = "".join(_ENTITIES.get(char, char) for char in marked)
    # GitHub turns bare addresses into links
    return _LINKS.sub(lambda match: match[0].replace(":", "&#58;").replace(".", "&#46;"), entities)


def latex(text: str, longest: int = LONGEST) -> str:
    """The text as LaTeX that sets exactly it, also in a table, a caption or a comment."""
    return re.sub("-(?=-)", "-{}", plain(text, longest).translate(_LATEX))  # two hyphens are no dash


def csv_field(text: str, longest: int = LONGEST) -> str:
    """The text as a CSV value that no spreadsheet takes for a formula."""
    return _no_formula(plain(text, longest))


def csv_path(text: str) -> str:
    """A path or a sentence with one as a CSV value, with all of its spaces."""
    return _no_formula(_visible(text)[:LONG])


def _visible(text: str) -> str:
    return "".join(" " if unicodedata.category(char) in _INVISIBLE else char for char in text)


def _no_formula(line: str) -> str:
    return f"'{line}" if line.lstrip().startswith(_FORMULA) else line
