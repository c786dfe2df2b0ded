"""SynthFaces: rendered faces with known expression labels, as a ferbench plugin."""

__version__ = "1.0.0"
