"""Readers of facial expression and face-recognition datasets for ferbench; no data inside."""

__version__ = "0.1.0"
