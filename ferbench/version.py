"""The version of ferbench."""

__version__ = "0.1.0"
