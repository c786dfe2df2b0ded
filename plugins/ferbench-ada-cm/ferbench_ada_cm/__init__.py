"""Ada-CM for ferbench: semi-supervised facial expression recognition with an adaptive confidence margin."""

__version__ = "0.1.0"
