"""The semi-supervised methods that papers compare with, for ferbench: one file each, in the order of the algorithm."""

__version__ = "0.1.0"
