"""SSFER for ferbench: masked faces reconstructed, FaceMix, and pseudo-labels of an EMA teacher."""

__version__ = "0.1.0"
