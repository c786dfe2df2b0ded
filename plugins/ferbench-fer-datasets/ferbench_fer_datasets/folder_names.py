"""The spellings of class folders in copies of published datasets."""

import re

from ferbench.readers.classes import class_name

MISSPELT = {"suprise": "surprise", "suprised": "surprise", "hapiness": "happiness", "happyness": "happiness"}
_NUMBER = re.compile(r"^\d{1,3}[\s._-]*(?=[a-z])")
"""`0_angry`, `1-happy`, `0ANGRY`: the name is the class, and the number has no meaning."""


def class_of_folder(text: str) -> str:
    """The class of a folder's name; raises ValueError for other names, and for a number alone."""
    name = _NUMBER.sub("", text.strip().lower())
    return class_name(MISSPELT.get(name, name if name != text.strip().lower() else text))
