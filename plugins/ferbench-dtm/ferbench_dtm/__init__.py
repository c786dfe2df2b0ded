"""DTM for ferbench, after code of that name, authorship not stated: pseudo-labels with a dynamic threshold."""

__version__ = "0.1.0"
