"""SynthFaces: rendered faces with known expression labels, as a ferbench plugin."""

__version__ = "0.1.0"
