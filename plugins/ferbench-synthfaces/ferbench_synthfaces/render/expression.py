"""Expressions as recipes of facial actions, and their variation from face to face."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ferbench_synthfaces.render.difficulty import Difficulty

NEUTRAL = "neutral"


@dataclass(frozen=True)
class Recipe:
    """One way to show an expression at its apex.

    An action without a side in its name moves both sides; one that ends in Left moves only the subject's left side.
    """

    probability: float
    actions: Mapping[str, float]
    mirrored: bool = False  # shown on the other side half of the time


RECIPES: dict[str, tuple[Recipe, ...]] = {
    "happiness": (
        Recipe(
            0.45,
            {
                "mouthSmile": 0.85,
                "cheekSquint": 0.7,
                "eyeSquint": 0.3,
                "mouthUpperUp": 0.45,
                "mouthLowerDown": 0.2,
                "jawOpen": 0.1,
            },
        ),
        Recipe(0.25, {"mouthSmile": 0.75, "cheekSquint": 0.5, "mouthDimple": 0.4}),
        Recipe(
            0.3,
            {
                "mouthSmile": 1.0,
                "cheekSquint": 0.9,
                "eyeSquint": 0.5,
                "mouthUpperUp": 0.6,
                "mouthLowerDown": 0.3,
                "jawOpen": 0.24,
            },
        ),
    ),
    "sadness": (
        Recipe(
            0.5,
            {"browInnerUp": 1.0, "browDown": 0.25, "mouthFrown": 0.9, "mouthShrugLower": 0.5, "eyeBlink": 0.15},
        ),
        Recipe(
            0.3,
            {
                "browInnerUp": 0.8,
                "mouthFrown": 0.7,
                "mouthShrugLower": 0.8,
                "mouthShrugUpper": 0.3,
                "eyeBlink": 0.4,
                "eyeLookDown": 0.6,
            },
        ),
        Recipe(  # crying
            0.2,
            {
                "browInnerUp": 1.1,
                "mouthFrown": 0.8,
                "mouthStretch": 0.5,
                "cheekSquint": 0.6,
                "eyeSquint": 0.6,
                "mouthLowerDown": 0.3,
                "jawOpen": 0.12,
            },
        ),
    ),
    "surprise": (
        Recipe(0.5, {"browInnerUp": 1.0, "browOuterUp": 1.0, "eyeWide": 0.9, "jawOpen": 0.42, "mouthFunnel": 0.15}),
        Recipe(
            0.3,
            {
                "browInnerUp": 0.9,
                "browOuterUp": 0.9,
                "eyeWide": 0.7,
                "jawOpen": 0.22,
                "mouthFunnel": 0.45,
                "mouthPucker": 0.2,
            },
        ),
        Recipe(0.2, {"browInnerUp": 1.1, "browOuterUp": 1.1, "eyeWide": 1.0, "jawOpen": 0.08, "mouthLowerDown": 0.15}),
    ),
    "fear": (
        Recipe(
            0.5,
            {
                "browInnerUp": 1.1,
                "browDown": 0.35,
                "browOuterUp": 0.25,
                "eyeWide": 1.0,
                "mouthStretch": 0.9,
                "mouthLowerDown": 0.5,
                "jawOpen": 0.2,
            },
        ),
        Recipe(
            0.3,
            {
                "browInnerUp": 1.1,
                "browOuterUp": 0.5,
                "eyeWide": 1.0,
                "mouthStretch": 0.7,
                "mouthFrown": 0.3,
                "mouthUpperUp": 0.2,
                "jawOpen": 0.38,
            },
        ),
        Recipe(  # lips closed
            0.2,
            {
                "browInnerUp": 1.1,
                "browDown": 0.3,
                "eyeWide": 0.9,
                "mouthStretch": 1.0,
                "mouthPress": 0.2,
                "mouthFrown": 0.35,
            },
        ),
    ),
    "disgust": (
        Recipe(
            0.5,
            {
                "noseSneer": 1.0,
                "mouthUpperUp": 0.8,
                "browDown": 0.5,
                "cheekSquint": 0.6,
                "eyeSquint": 0.5,
                "mouthShrugLower": 0.3,
            },
        ),
        Recipe(
            0.3,
            {
                "noseSneer": 0.9,
                "mouthUpperUp": 0.5,
                "mouthFrown": 0.6,
                "browDown": 0.4,
                "eyeSquint": 0.6,
                "mouthShrugLower": 0.6,
            },
        ),
        Recipe(  # tongue shown
            0.2,
            {
                "noseSneer": 0.9,
                "mouthUpperUp": 0.7,
                "mouthLowerDown": 0.6,
                "browDown": 0.5,
                "eyeSquint": 0.7,
                "jawOpen": 0.2,
                "tongueOut": 0.25,
            },
        ),
    ),
    "anger": (
        Recipe(  # lips pressed
            0.4,
            {
                "browDown": 1.1,
                "eyeWide": 0.3,
                "eyeSquint": 0.3,
                "mouthPress": 0.8,
                "noseSneer": 0.25,
                "mouthRollLower": 0.3,
                "mouthShrugLower": 0.3,
            },
        ),
        Recipe(  # teeth bared
            0.3,
            {
                "browDown": 1.1,
                "noseSneer": 0.5,
                "mouthUpperUp": 0.45,
                "mouthLowerDown": 0.7,
                "mouthStretch": 0.3,
                "eyeSquint": 0.4,
                "jawOpen": 0.18,
            },
        ),
        Recipe(  # shouting
            0.3,
            {
                "browDown": 1.1,
                "eyeWide": 0.4,
                "mouthFrown": 0.5,
                "noseSneer": 0.35,
                "mouthFunnel": 0.35,
                "jawOpen": 0.3,
                "jawForward": 0.3,
            },
        ),
    ),
    "contempt": (
        Recipe(
            1.0,
            {"mouthSmileLeft": 0.55, "mouthDimpleLeft": 0.6, "mouthPressLeft": 0.4, "eyeSquintLeft": 0.2},
            mirrored=True,
        ),
    ),
}

# Expressions that leave a trace in neutral faces or are blended into others. Contempt is not one of them: with one
# recipe on one side of the face, a classifier would recognise it in any mixture.
BLENDED = tuple(name for name in RECIPES if name != "contempt")

# Small unrelated movements: on both sides together, or on each side alone.
TWO_SIDED_NOISE = ("browDown", "browOuterUp", "eyeBlink", "eyeSquint", "eyeWide")
ONE_SIDED_NOISE = (
    "browInnerUp",
    "mouthSmileLeft",
    "mouthSmileRight",
    "mouthFrownLeft",
    "mouthFrownRight",
    "mouthPressLeft",
    "mouthPressRight",
    "jawOpen",
    "mouthPucker",
    "cheekSquintLeft",
    "cheekSquintRight",
    "mouthShrugLower",
    "noseSneerLeft",
    "noseSneerRight",
    "mouthLeft",
    "mouthRight",
)
ACTION_LIMIT = 1.4  # above it the mesh folds


@dataclass(frozen=True)
class Expression:
    """The facial actions of one image."""

    actions: NDArray[np.float32]  # (52,) in the order of the asset file, 0..1.4
    intensity: float  # strength of the drawn recipe


class ExpressionSampler:
    """Draws expressions over a list of action names."""

    def __init__(self, action_names: tuple[str, ...]) -> None:
        """`action_names`: the 52 actions in the order of the asset file."""
        self.names = action_names
        self.index = {name: row for row, name in enumerate(action_names)}
        self.left = np.array([name.endswith("Left") for name in action_names])
        self.right = np.array([name.endswith("Right") for name in action_names])
        # The action from which each action takes its jitter: right sides copy their left twin.
        self.twin = np.array(
            [self.index.get(f"{name.removesuffix('Right')}Left", row) if name.endswith("Right") else row
             for row, name in enumerate(action_names)]
        )  # fmt: skip

    def sample(self, name: str, difficulty: Difficulty, rng: np.random.Generator) -> Expression:
        """Draw one face with the expression `name`."""
        if name == NEUTRAL:
            intensity = abs(rng.normal(0, difficulty.neutral_intensity))
            actions = intensity * self._apex(str(rng.choice(BLENDED)), rng)
        else:
            intensity = rng.uniform(*difficulty.intensity)
            actions = intensity * self._apex(name, rng)
            if rng.random() < difficulty.blend_probability:
                share = rng.uniform(0, difficulty.blend_share)
                other = str(rng.choice([candidate for candidate in BLENDED if candidate != name]))
                actions = (1 - share) * actions + share * intensity * self._apex(other, rng)
        actions = self._vary(actions, difficulty, rng)
        self._add_noise(actions, difficulty.action_noise, rng)
        self._add_gaze(actions, rng)
        return Expression(np.clip(actions, 0, ACTION_LIMIT).astype(np.float32), float(intensity))

    def rows(self, action: str) -> list[int]:
        """Indices of an action: its own, or those of both sides."""
        if action in self.index:
            return [self.index[action]]
        return [self.index[f"{action}Left"], self.index[f"{action}Right"]]

    def _apex(self, name: str, rng: np.random.Generator) -> NDArray[np.float64]:
        """The actions (52,) of one of the recipes of `name`."""
        recipes = RECIPES[name]
        recipe = recipes[rng.choice(len(recipes), p=[choice.probability for choice in recipes])]
        mirror = recipe.mirrored and rng.random() < 0.5
        actions = np.zeros(len(self.names))
        for action, weight in recipe.actions.items():
            actions[self.rows(action.replace("Left", "Right") if mirror else action)] = weight
        return actions

    def _vary(
        self, actions: NDArray[np.float64], difficulty: Difficulty, rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """Make each action a little stronger or weaker, and one side of the face stronger than the other."""
        jitter = np.exp(rng.normal(0, difficulty.action_jitter, len(actions)))[self.twin]
        lean = rng.normal(0, difficulty.asymmetry)
        varied: NDArray[np.float64] = actions * jitter * (1 + lean * self.left - lean * self.right)
        return varied

    def _add_noise(self, actions: NDArray[np.float64], spread: float, rng: np.random.Generator) -> None:
        for action in TWO_SIDED_NOISE + ONE_SIDED_NOISE:
            amount = abs(rng.normal(0, spread)) * (rng.random() < 0.6)
            if action == "jawOpen":
                amount *= 0.5
            actions[self.rows(action)] += amount

    def _add_gaze(self, actions: NDArray[np.float64], rng: np.random.Generator) -> None:
        """Add a random gaze; sideways, one eye turns outwards while the other turns inwards."""
        sideways, upwards = rng.normal(0, 0.22, 2) * (1, 0.7)
        horizontal = ("eyeLookOutLeft", "eyeLookInRight") if sideways > 0 else ("eyeLookInLeft", "eyeLookOutRight")
        vertical = "eyeLookUp" if upwards > 0 else "eyeLookDown"
        for action in horizontal:
            actions[self.index[action]] += abs(sideways)
        actions[self.rows(vertical)] += abs(upwards)
