"""Texts of strangers, as a message can show them and as a file can hold them."""

MAX_QUOTED = 100


def quoted(text: str) -> str:
    """The beginning of a text as a message can show it: in quotes, without control characters."""
    return repr(text if len(text) <= MAX_QUOTED else f"{text[:MAX_QUOTED]}...")


def storable(text: str) -> str:
    """A text as a file can hold it: a name of a file may have bytes that are no text, which are written out."""
    return text.encode("utf-8", "backslashreplace").decode()


def suffix_of(name: str) -> str:
    """The ending of a name from its last dot on, in lower case and short; empty where it has none."""
    _, dot, ending = name.rpartition("/")[2].rpartition(".")
    return f"{dot}{ending}".lower()[:12] if dot else ""


def printable(text: str) -> str:
    r"""A text that names something; raises ValueError where it has a control character, or half a character.

    JSON can write such a half (`"\ud800"`), which no file can hold.
    """
    if not text.isprintable():
        raise ValueError(f"{quoted(text)} is no printable text")
    return text
