"""Puts this folder on the path: the look-alike trees are modules that several tests share."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
