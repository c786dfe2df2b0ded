"""A face sheet: a few people of each class."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from ferbench_synthfaces.render.assets import load_assets
from ferbench_synthfaces.render.difficulty import LEVELS
from ferbench_synthfaces.render.expression import ExpressionSampler
from ferbench_synthfaces.render.identity import sample_identity
from ferbench_synthfaces.render.plan import CLASSES
from ferbench_synthfaces.render.scene import take_shot

GAP = 4  # pixels
TITLE = 16  # pixels above each column


def face_sheet(level: str, seed: int, people: int = 5, size: int = 112) -> Image.Image:
    """An image with one column of `people` faces for each class; every face is a different person."""
    assets, difficulty = load_assets(), LEVELS[level]
    sampler = ExpressionSampler(assets.action.names)
    step = size + GAP
    sheet = Image.new("RGB", (len(CLASSES) * step - GAP, TITLE + people * step - GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for column, name in enumerate(CLASSES):
        draw.text((column * step + 2, 1), name, fill="black")
        for line in range(people):
            rng = np.random.default_rng([seed, column, line])
            identity = sample_identity(assets, difficulty, rng)
            expression = sampler.sample(name, difficulty, rng)
            shot = take_shot(assets, identity, expression, difficulty, size, rng)
            sheet.paste(Image.fromarray(shot.image), (column * step, TITLE + line * step))
    # A palette, refined by k-means: because of the noise, a true-colour file is more than twice as large.
    return sheet.quantize(256, Image.Quantize.MEDIANCUT, kmeans=3, dither=Image.Dither.NONE)
