"""Cells of ferbench as job arrays of SLURM."""

__version__ = "0.1.0"
