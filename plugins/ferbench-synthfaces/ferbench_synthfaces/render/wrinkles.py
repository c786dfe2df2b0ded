"""Expression lines and the folds of age: dark lines whose depth follows the facial actions.

At 64 pixels they contribute much to the difference between anger, disgust and the other expressions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from ferbench_synthfaces.render.assets import Assets, Part
from ferbench_synthfaces.render.curves import line, smoothstep
from ferbench_synthfaces.render.expression import Expression
from ferbench_synthfaces.render.identity import Identity
from ferbench_synthfaces.render.surface import Surface

Floats = NDArray[np.float32]
Strength = Callable[[str], float]


def wrinkle_depth(assets: Assets, identity: Identity, expression: Expression, surface: Surface) -> Floats:
    """Darkening (0..0.5) of each visible point (N,) by wrinkles."""
    age = smoothstep(0.75, 0.98, identity.phenotype.age)
    front = (surface.part == Part.SKIN) & (surface.z > 0.6)
    total = sum(_lines(_strength(assets, expression), age, surface.across, surface.y, surface.z))
    return np.where(front, np.clip(total * np.float32(identity.wrinkles), 0, 0.5), 0).astype(np.float32)


def _strength(assets: Assets, expression: Expression) -> Strength:
    """A function that returns the strength of an action, averaged over both sides."""
    index = assets.action.index

    def strength(action: str) -> float:
        rows = [index[action]] if action in index else [index[f"{action}Left"], index[f"{action}Right"]]
        return float(sum(expression.actions[row] for row in rows) / len(rows))

    return strength


def _lines(strength: Strength, age: float, across: Floats, y: Floats, z: Floats) -> Iterator[Floats]:
    """The darkening (N,) of each group of wrinkles; `across`, `y`, `z` are in dm on the template."""
    # Forehead: three waves over the raised part of the brow.
    raised = 0.75 * strength("browInnerUp") * line(across, 0.38)
    raised = raised + 0.6 * strength("browOuterUp") * line(across - 0.35, 0.3) + 0.3 * age
    height = (y - 0.03 * np.cos(5 * across)).astype(np.float32)
    yield 0.55 * raised * (line(height - 7.68, 0.014) + line(height - 7.78, 0.014) + line(height - 7.88, 0.014))
    # Between the brows: two upright lines.
    frown = strength("browDown") + 0.25 * age + 0.2 * strength("noseSneer")
    yield 0.9 * frown * line(across - 0.065, 0.016) * smoothstep(7.32, 7.4, y) * (1 - smoothstep(7.52, 7.62, y))
    # From nose to mouth.
    pull = max(
        0.8 * strength("mouthSmile"),
        strength("noseSneer"),
        0.7 * strength("mouthUpperUp"),
        0.45 * strength("mouthFrown"),
    )
    below = np.clip((7.02 - y) / 0.4, 0, 1)
    fold = line(across - (0.19 + 0.2 * below**1.2), 0.03)
    fold = fold * smoothstep(-0.02, 0.1, 7.04 - y) * (1 - smoothstep(0.36, 0.46, 7.02 - y))
    yield 0.55 * (pull + 0.4 * age + 0.12) * fold
    # Crow's feet.
    squint = strength("cheekSquint")
    feet = line(y - 7.28 - 0.12 * (across - 0.5), 0.012) + line(y - 7.23 + 0.15 * (across - 0.5), 0.012)
    feet = feet + line(y - 7.33 - 0.4 * (across - 0.5), 0.012)
    feet = feet * smoothstep(0.5, 0.56, across) * (1 - smoothstep(0.66, 0.74, across)) * (z > 0.7)
    yield 0.5 * (squint + 0.5 * age) * feet
    # Across the bridge of the nose.
    bridge = line(y - 7.3, 0.014) + line(y - 7.24, 0.014) + line(y - 7.36, 0.014)
    yield 0.7 * strength("noseSneer") * line(across, 0.12) * bridge
    # Down from the corners of the mouth.
    corner = line(across - 0.3 - 0.25 * (6.62 - y), 0.02) * smoothstep(0, 0.05, 6.66 - y)
    yield 0.5 * (strength("mouthFrown") + 0.3 * age) * corner * (1 - smoothstep(0.15, 0.25, 6.66 - y))
    # Above the chin.
    yield 0.45 * strength("mouthShrugLower") * line(y - 6.43 + 0.5 * across * across, 0.02) * line(across, 0.18)
    # Under the eyes.
    bag = line(y - 7.16 - 0.25 * (across - 0.33) ** 2, 0.02) * line(across - 0.33, 0.14)
    yield 0.6 * (0.5 * squint + 0.4 * age + 0.1) * bag
