"""People: the shape of a head and everything else that is the same in all images of a person."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ferbench_synthfaces.render.assets import Assets
from ferbench_synthfaces.render.curves import smoothstep
from ferbench_synthfaces.render.difficulty import Difficulty
from ferbench_synthfaces.render.shapes import ShapeTable

Colour = NDArray[np.float32]  # (3,) RGB, 0..1, display-referred

AGES = ("baby", "child", "young", "old")
GENDERS = ("male", "female")
MUSCLES = ("minmuscle", "averagemuscle", "maxmuscle")
WEIGHTS = ("minweight", "averageweight", "maxweight")
ANCESTRIES = ("african", "asian", "caucasian")

SKIN_RAMP = np.array(  # light to dark
    [
        [0.93, 0.77, 0.70],
        [0.88, 0.70, 0.59],
        [0.76, 0.57, 0.45],
        [0.58, 0.41, 0.31],
        [0.42, 0.29, 0.22],
        [0.30, 0.21, 0.17],
    ]
)
ANCESTRY_TONE = np.array([0.85, 0.38, 0.12])  # mean place on the ramp of ANCESTRIES
HAIR_COLOURS = np.array(  # black, near-black, dark brown, light brown, blond, red
    [
        [0.06, 0.05, 0.05],
        [0.12, 0.08, 0.06],
        [0.25, 0.15, 0.09],
        [0.45, 0.30, 0.16],
        [0.70, 0.55, 0.33],
        [0.40, 0.17, 0.08],
    ]
)
GREY_HAIR = np.array([0.72, 0.71, 0.70])
LIPSTICK = np.array([0.62, 0.28, 0.27])
IRIS_COLOURS = np.array([[0.16, 0.09, 0.05], [0.25, 0.15, 0.08], [0.22, 0.32, 0.42], [0.25, 0.33, 0.20]])

# Local changes that move a whole part of the face; at full strength they would look like an injury.
DISPLACED_PARTS = ("l-eye-trans", "l-eye-push", "r-eye-trans", "r-eye-push", "mouth-trans-out", "nose-trans-out")


@dataclass(frozen=True)
class Phenotype:
    """Sliders of the macro shapes, each 0..1; `gender` 0 is male, 1 is female; `ancestry` sums to 1.

    `age` 0 is a baby, 1/3 a child, 2/3 young, 1 old.
    """

    age: float
    gender: float
    muscle: float
    weight: float
    ancestry: tuple[float, float, float]  # in the order of ANCESTRIES


@dataclass(frozen=True)
class Brows:
    """The painted eyebrows, in dm of the template face."""

    half_thickness: float
    raise_: float
    arch: float
    opacity: float
    inner_end: float
    outer_end: float
    colour: Colour


@dataclass(frozen=True)
class Hair:
    """Scalp hair, long hair and beard."""

    colour: Colour
    bald: bool
    hairline: float  # upward shift of the hairline, degrees
    fringe: float  # length of the fringe, degrees
    volume: float  # dm
    long_to: float | None  # height of the lower end of long hair, dm; None = short hair
    parting: float  # sideways shift of the strands, dm
    beard: float  # opacity, 0 = shaved
    beard_kind: int  # 0 full, 1 goatee, 2 moustache


@dataclass(frozen=True)
class Identity:
    """One person."""

    vertices: NDArray[np.float32]  # (V, 3) neutral head without hair
    phenotype: Phenotype
    tone: float  # place on the skin ramp, 0 light .. 1 dark
    skin: Colour
    brows: Brows
    hair: Hair
    lips: Colour
    iris: Colour
    wrinkles: float  # depth of expression lines
    clothes: Colour
    glasses: Colour | None  # colour of the frame
    texture_seed: int  # seed of the skin's mottling and of the strands of hair


def phenotype_weights(table: ShapeTable, phenotype: Phenotype) -> NDArray[np.float32]:
    """Weights (96,) of the macro shapes: each is the product of the piecewise-linear weights of its name's factors."""
    factors = {
        **_hat(AGES, phenotype.age),
        **_hat(GENDERS, phenotype.gender),
        **_hat(MUSCLES, phenotype.muscle),
        **_hat(WEIGHTS, phenotype.weight),
        **dict(zip(ANCESTRIES, phenotype.ancestry, strict=True)),
        "universal": 1.0,
    }
    products = [np.prod([factors[factor] for factor in name.split("-")]) for name in table.names]
    return np.array(products, np.float32)


def _hat(names: tuple[str, ...], position: float) -> dict[str, float]:
    """Weights of evenly spaced stops in 0..1: the two stops next to `position` share a weight of 1."""
    stops = np.linspace(0, 1, len(names))
    return {name: float(np.interp(position, stops, row)) for name, row in zip(names, np.eye(len(names)), strict=True)}


def sample_identity(assets: Assets, difficulty: Difficulty, rng: np.random.Generator) -> Identity:
    """Draw a person."""
    phenotype = _sample_phenotype(rng)
    female = phenotype.gender > 0.5
    vertices = _sample_head(assets, phenotype, difficulty.shape_spread, rng)
    tone = float(np.clip((ANCESTRY_TONE * phenotype.ancestry).sum() + rng.normal(0, 0.1), 0, 1))
    skin = _on_ramp(SKIN_RAMP, tone) + rng.normal(0, 0.015, 3)
    hair = _sample_hair(phenotype, rng)
    brows = _sample_brows(phenotype, hair.colour, rng)
    if female and rng.random() < 0.45:
        lips = LIPSTICK * rng.uniform(0.6, 1.2)
    else:
        lips = skin * (0.86, 0.66, 0.66) * rng.uniform(0.88, 1.02)
    light_eyes = phenotype.ancestry[2] > 0.5
    iris = IRIS_COLOURS[rng.choice(4, p=[0.3, 0.25, 0.3, 0.15] if light_eyes else [0.75, 0.23, 0.01, 0.01])]
    wrinkles = rng.uniform(*difficulty.wrinkles) + 0.5 * smoothstep(0.7, 0.95, phenotype.age)
    clothes = rng.uniform(0.05, 0.9, 3) * rng.uniform(0.4, 1)
    frame = rng.uniform(0, 0.25, 3)
    return Identity(
        vertices=vertices,
        phenotype=phenotype,
        tone=tone,
        skin=_colour(skin),
        brows=brows,
        hair=hair,
        lips=_colour(lips),
        iris=_colour(iris),
        wrinkles=float(wrinkles),
        clothes=_colour(clothes),
        glasses=_colour(frame) if rng.random() < difficulty.glasses else None,
        texture_seed=int(rng.integers(1 << 30)),
    )


def _colour(values: NDArray[np.float64]) -> Colour:
    return np.clip(values, 0, 1).astype(np.float32)


def _on_ramp(ramp: NDArray[np.float64], position: float) -> NDArray[np.float64]:
    stops = np.linspace(0, 1, len(ramp))
    return np.array([np.interp(position, stops, channel) for channel in ramp.T])


def _sample_phenotype(rng: np.random.Generator) -> Phenotype:
    """15 % children, 55 % young adults, 30 % older; gender in two groups; mixed ancestry."""
    ancestry = rng.dirichlet([0.5, 0.5, 0.6])
    gender = np.clip(rng.normal(rng.choice([0.12, 0.88]), 0.12), 0, 1)
    low, high = ((0.38, 0.6), (0.6, 0.75), (0.75, 0.98))[rng.choice(3, p=[0.15, 0.55, 0.3])]
    muscle, weight = np.clip(rng.normal(0.5, 0.2, 2), 0, 1)
    shares = (float(ancestry[0]), float(ancestry[1]), float(ancestry[2]))
    return Phenotype(float(rng.uniform(low, high)), float(gender), float(muscle), float(weight), shares)


def _sample_head(assets: Assets, phenotype: Phenotype, spread: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """The neutral head (V, 3) of a person: macro shape, local changes, outline and asymmetry."""
    mesh = assets.template.copy()
    assets.phenotype.add(mesh, phenotype_weights(assets.phenotype, phenotype))
    changes = _sample_local_changes(assets.increase, phenotype.age, spread, rng)
    assets.increase.add(mesh, np.maximum(changes, 0))
    assets.decrease.add(mesh, np.maximum(-changes, 0))
    outline = np.zeros(len(assets.head.names), np.float32)
    outline[rng.choice(len(outline), 2, replace=False)] = rng.uniform(0, 0.6, 2)
    assets.head.add(mesh, outline)
    count = len(assets.asymmetry.names)
    one_sided = rng.uniform(0, 0.35, count) * (rng.random(count) < 0.25)
    assets.asymmetry.add(mesh, one_sided.astype(np.float32))
    return mesh


def _sample_local_changes(
    table: ShapeTable, age: float, spread: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Values (137,) in -0.9..0.9; left and right are nearly equal, and moves of whole parts are damped."""
    changes = np.clip(rng.normal(0, spread, len(table.names)), -0.9, 0.9)
    for row, name in enumerate(table.names):
        if name.startswith("r-"):
            changes[row] = 0.9 * changes[table.index[f"l-{name[2:]}"]] + 0.1 * changes[row]
        if name.startswith(("head-trans", "neck-trans", "head-angle")):
            changes[row] = 0
        if name.startswith(DISPLACED_PARTS):
            changes[row] *= 0.4
        if "head-age" in name:
            changes[row] = np.clip((age - 0.6) * 2 + rng.normal(0, 0.2), -0.5, 1)
    return changes.astype(np.float32)


def _sample_brows(phenotype: Phenotype, hair: Colour, rng: np.random.Generator) -> Brows:
    return Brows(
        half_thickness=rng.uniform(0.022, 0.042) * (1.2 - 0.5 * phenotype.gender),
        raise_=rng.normal(0, 0.012),
        arch=rng.normal(0.04, 0.02),
        opacity=rng.uniform(0.6, 0.95),
        inner_end=rng.uniform(0.09, 0.14),
        outer_end=rng.uniform(0.5, 0.6),
        colour=hair * np.float32(0.75),
    )


def _sample_hair(phenotype: Phenotype, rng: np.random.Generator) -> Hair:
    female, age = phenotype.gender > 0.5, phenotype.age
    light = phenotype.ancestry[2] > 0.5
    shares = [0.3, 0.25, 0.2, 0.12, 0.09, 0.04] if light else [0.6, 0.3, 0.08, 0.02, 0, 0]
    grey = smoothstep(0.8, 0.97, age + rng.normal(0, 0.04))
    receding = 0.0 if female else 30 * rng.random() * smoothstep(0.65, 0.95, age)
    return Hair(
        colour=_colour(HAIR_COLOURS[rng.choice(6, p=shares)] * (1 - grey) + GREY_HAIR * grey),
        bald=not female and rng.random() < 0.08 + 0.25 * (age > 0.8),
        hairline=rng.normal(0, 4) + receding,
        fringe=rng.uniform(6, 20) if rng.random() < 0.15 else 0.0,
        volume=rng.uniform(0.02, 0.12) + 0.05 * female,
        long_to=rng.uniform(5.2, 6.6) if rng.random() < (0.65 if female else 0.06) else None,
        parting=rng.uniform(-0.4, 0.4),
        beard=rng.uniform(0.15, 0.8) if not female and age > 0.6 and rng.random() < 0.4 else 0.0,
        beard_kind=int(rng.integers(3)),
    )
