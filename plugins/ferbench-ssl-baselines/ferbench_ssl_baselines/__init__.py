"""The semi-supervised methods that papers compare with, for ferbench: one file each, as the paper's algorithm reads."""

__version__ = "0.1.0"
