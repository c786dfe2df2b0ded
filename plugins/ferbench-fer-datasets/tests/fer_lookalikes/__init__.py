"""Look-alikes: small trees in the layouts of real datasets, with all their traps and no damage, and without the data.

Every module of a layout has a function `build(root)`: it writes a tree and returns the samples that are in it, by
the names of the datasets that read it. A tree is the same each time.
"""

import pkgutil
from importlib import import_module

MODULES = [
    module
    for found in pkgutil.iter_modules(__path__)
    if hasattr(module := import_module(f"{__name__}.{found.name}"), "build")
]
"""Of all look-alikes."""
