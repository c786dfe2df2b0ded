"""Readers of facial expression and face-recognition data sets for ferbench; no data inside."""

__version__ = "0.1.0"
