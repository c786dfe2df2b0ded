"""Puts the package of look-alikes on the path, last, so that nothing beside it stands before another module."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
