"""How copies of published sets spell their class folders, which have names that are known."""

import re

from ferbench.readers.classes import class_name

MISSPELT = {"suprise": "surprise", "suprised": "surprise", "hapiness": "happiness", "happyness": "happiness"}
_NUMBER = re.compile(r"^\d{1,3}[\s._-]*(?=[a-z])")
"""`0_angry`, `1-happy`, `0ANGRY`: the name says what the class is, and the number nothing."""


def class_of_folder(text: str) -> str:
    """The class that a folder is named after; raises ValueError for none, as for a number alone."""
    name = _NUMBER.sub("", text.strip().lower())
    return class_name(MISSPELT.get(name, name if name != text.strip().lower() else text))
