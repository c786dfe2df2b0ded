"""Make untrusted texts safe for messages and files."""

MAX_QUOTED = 100


def quoted(text: str) -> str:
    """The beginning of a text for a message: in quotes, with control characters escaped."""
    return repr(text if len(text) <= MAX_QUOTED else f"{text[:MAX_QUOTED]}...")


def storable(text: str) -> str:
    """A text that can be written as UTF-8: bytes of a file name that are not valid text are escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


def suffix_of(name: str) -> str:
    """The suffix of a name from its last dot, in lower case, at most 12 characters; empty if it has none."""
    _, dot, ending = name.rpartition("/")[2].rpartition(".")
    return f"{dot}{ending}".lower()[:12] if dot else ""


def printable(text: str) -> str:
    r"""The text; raises ValueError if it contains a control character or a lone surrogate.

    JSON can contain a lone surrogate (`"\ud800"`), but a UTF-8 file cannot.
    """
    if not text.isprintable():
        raise ValueError(f"{quoted(text)} is not printable text")
    return text
