"""LEAF for ferbench: semi-supervised facial expression recognition at semantic, instance and category level."""

__version__ = "0.1.0"
