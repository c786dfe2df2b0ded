"""A public toolkit for files of initial weights: it reads them without unpickling and fits them to a net.

A builder of backbones needs one line: `backbone.init_match = load_weights(backbone, request.init)`.
"""

from ferbench.weights.files import read_states
from ferbench.weights.fit import load_weights
from ferbench.weights.layouts import Layout, layout_of

__all__ = ["Layout", "layout_of", "load_weights", "read_states"]
