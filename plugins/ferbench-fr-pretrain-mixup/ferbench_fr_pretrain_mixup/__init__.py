"""SSFER for ferbench: reconstruction of masked faces, FaceMix, and pseudo-labels of an EMA teacher."""

__version__ = "0.1.0"
