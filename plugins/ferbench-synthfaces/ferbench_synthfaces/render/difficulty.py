"""The difficulty of the faces: all parameters in one place."""

from __future__ import annotations

from dataclasses import dataclass

Range = tuple[float, float]


@dataclass(frozen=True)
class Difficulty:
    """The parameters of the generator. The defaults are the level `standard`."""

    # Expression; actions are in units of their full extent (0 = absent, 1 = apex).
    intensity: Range = (0.58, 1.09)  # strength of the recipe, uniform; 0..1.2
    neutral_intensity: float = 0.08  # sd of the trace of a random recipe in a neutral face; 0..0.2
    action_noise: float = 0.062  # sd of unrelated actions; 0..0.2
    action_jitter: float = 0.205  # sd of the logarithm of each action's factor; 0..0.5
    asymmetry: float = 0.15  # sd of the difference between left and right, relative; 0..0.5
    blend_probability: float = 0.16  # share of faces mixed with a second expression; 0..1
    blend_share: float = 0.38  # largest share of the second expression; below 0.5, so that the label is right
    # Person.
    shape_spread: float = 0.25  # sd of the local changes of the head's shape, of their full extent; 0..0.5
    wrinkles: Range = (0.2, 0.9)  # depth of expression lines, uniform; 0..1.5
    glasses: float = 0.12  # share of people with glasses; 0..1
    # View.
    yaw: float = 11.2  # sd, degrees; drawn values are clipped at 2.2 sd
    pitch: float = 6.1  # sd, degrees
    roll: float = 3.6  # sd, degrees
    eye_mouth: float = 0.414  # distance between eyes and mouth, of the image's height; 0.3..0.5
    light_spread: float = 0.78  # scale of the variation of light direction and exposure; 0..1.5
    ambient: float = 0.35  # mean ambient light, of full white; 0.2..0.6
    key: float = 0.75  # mean key light, of full white; 0.4..1
    # Picture.
    occlusion: float = 0.084  # share of images with a patch over the face; 0..1
    grey: float = 0.084  # share of grey images; 0..1
    blur: Range = (0.25, 0.7)  # sd of the blur, in pixels of a 64-pixel image, uniform; 0..2
    noise: float = 0.0184  # mean sd of the sensor's noise, of full white; 0..0.1
    jpeg_quality: tuple[int, int] = (55, 95)  # uniform, upper end excluded; 1..100


LEVELS = {
    "easy": Difficulty(
        intensity=(0.75, 1.15),
        neutral_intensity=0.06,
        action_noise=0.05,
        action_jitter=0.18,
        blend_probability=0.12,
        blend_share=0.35,
        shape_spread=0.2,
        glasses=0.1,
        yaw=9.0,
        pitch=5.0,
        roll=3.0,
        eye_mouth=0.43,
        light_spread=0.6,
        occlusion=0.06,
        grey=0.05,
        blur=(0.2, 0.6),
        noise=0.015,
    ),
    "standard": Difficulty(),
    "hard": Difficulty(
        intensity=(0.45, 1.0),
        neutral_intensity=0.1,
        action_noise=0.08,
        action_jitter=0.25,
        blend_probability=0.25,
        blend_share=0.4,
        shape_spread=0.3,
        glasses=0.15,
        yaw=13.0,
        pitch=7.0,
        roll=4.0,
        eye_mouth=0.36,
        light_spread=1.0,
        occlusion=0.12,
        grey=0.15,
        blur=(0.3, 0.8),
        noise=0.02,
    ),
}
