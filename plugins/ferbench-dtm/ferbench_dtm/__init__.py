"""DTM-like (reconstruction) for ferbench: pseudo-labels of face-recognition images under a dynamic threshold."""

__version__ = "0.1.0"
