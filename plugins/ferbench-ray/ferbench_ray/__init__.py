"""Cells of ferbench as tasks of a Ray cluster."""

__version__ = "0.1.0"
