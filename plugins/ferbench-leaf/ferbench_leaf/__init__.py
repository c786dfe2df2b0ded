"""LEAF for ferbench: semi-supervised facial expression recognition at semantic, instance and category level."""

from ferbench_leaf.category import ambiguous_loss

__all__ = ["ambiguous_loss"]
__version__ = "0.1.0"
