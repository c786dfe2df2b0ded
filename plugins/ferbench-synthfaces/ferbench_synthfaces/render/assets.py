"""The head: template mesh, shapes and painted masks, loaded from the packaged `assets.npz`.

Axes follow the mesh: x to the subject's left, y up, z forward; lengths in dm (0.1 m).
`tools/extract_assets.py` makes the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferbench_synthfaces.render.shapes import ShapeTable

SHAPE_FAMILIES = ("phenotype", "increase", "decrease", "head", "asymmetry", "action")
SKULL_CENTRE = np.array([0, 7.55, 0.45], np.float32)  # origin of the angles that place the hairline


class Part(IntEnum):
    """The part of the head that a triangle belongs to."""

    SKIN = 0
    EYE = 1
    TEETH = 2
    TONGUE = 3
    LASHES = 4
    MOUTH_CAVITY = 5
    LONG_HAIR = 6  # not in the asset file: a shell made per person


@dataclass(frozen=True)
class Assets:
    """The data that all heads share. V vertices, F triangles."""

    template: NDArray[np.float32]  # (V, 3) mesh before any shape
    faces: NDArray[np.int32]  # (F, 3)
    parts: NDArray[np.uint8]  # (F,) Part codes
    lips: NDArray[np.float32]  # (V,) mask 0..1
    eyelids: NDArray[np.float32]  # (V,) mask 0..1
    ambient_occlusion: NDArray[np.float32]  # (V,) share of the sky seen, 0..1, on an average face
    phenotype: ShapeTable  # 96 macro shapes: age x gender x muscle x weight, ancestry x gender x age
    increase: ShapeTable  # 137 local changes, positive direction
    decrease: ShapeTable  # the same changes, negative direction, same order
    head: ShapeTable  # 7 outlines of the head
    asymmetry: ShapeTable  # 58 one-sided changes
    action: ShapeTable  # 52 facial actions

    @cached_property
    def skin_vertices(self) -> NDArray[np.bool_]:
        """(V,) vertices of the outer skin."""
        return self.vertices_of(Part.SKIN)

    @cached_property
    def ear_vertices(self) -> NDArray[np.bool_]:
        """(V,) a box around both ears, where no hair grows."""
        x, y, z = self.template.T
        return (np.abs(x) > 0.72) & (y < 7.5) & (y > 6.7) & (z < 0.8) & (z > 0.2)

    @cached_property
    def face_vertices(self) -> NDArray[np.bool_]:
        """(V,) skin between chin, hairline and the fronts of the ears: what the face box encloses."""
        x, y, z = self.template.T
        return self.skin_vertices & (y > 6.3) & (y < 8.0) & (z > 0.65) & (np.abs(x) < 0.8)

    @cached_property
    def azimuth(self) -> NDArray[np.float32]:
        """(V,) angle around the skull, degrees: 0 at the forehead, 180 at the back."""
        x, _, z = (self.template - SKULL_CENTRE).T
        return np.degrees(np.arctan2(np.abs(x), z))

    @cached_property
    def elevation(self) -> NDArray[np.float32]:
        """(V,) angle above the skull's centre, degrees."""
        x, y, z = (self.template - SKULL_CENTRE).T
        return np.degrees(np.arctan2(y, np.hypot(x, z)))

    @cached_property
    def eye_centres(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Centres (3,) of the template's eyeballs: the subject's right, then left."""
        return self.eye_centres_of(self.template)

    def eye_centres_of(self, vertices: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Centres (3,) of the eyeballs of a head with `vertices` (V, 3): the subject's right, then left."""
        eye, left = self.vertices_of(Part.EYE), self.template[:, 0] > 0
        return vertices[eye & ~left].mean(0), vertices[eye & left].mean(0)

    def vertices_of(self, part: Part) -> NDArray[np.bool_]:
        """(V,) vertices that belong to a triangle of `part`."""
        selected = np.zeros(len(self.template), np.bool_)
        selected[self.faces[self.parts == part]] = True
        return selected


def default_path() -> Path:
    """The packaged asset file."""
    return Path(str(files("ferbench_synthfaces") / "assets" / "assets.npz"))


def load_assets(path: Path | None = None) -> Assets:
    """Read an asset file (the packaged one if no `path` is given)."""
    with np.load(path or default_path(), allow_pickle=False) as archive:
        tables = {family: _read_shapes(archive, family) for family in SHAPE_FAMILIES}
        return Assets(
            template=archive["template"].astype(np.float32),
            faces=archive["faces"].astype(np.int32),
            parts=archive["parts"],
            lips=_unit(archive["lips"]),
            eyelids=_unit(archive["eyelids"]),
            ambient_occlusion=_unit(archive["ambient_occlusion"]),
            **tables,
        )


def _unit(mask: NDArray[np.uint8]) -> NDArray[np.float32]:
    return (mask.astype(np.float32) / 255).astype(np.float32)


def _read_shapes(archive: Any, family: str) -> ShapeTable:
    counts = archive[f"{family}_counts"].astype(np.int64)
    return ShapeTable(
        names=tuple(str(name) for name in archive[f"{family}_names"]),
        starts=np.concatenate([[0], np.cumsum(counts)]),
        vertices=archive[f"{family}_vertices"].astype(np.int32),
        deltas=archive[f"{family}_deltas"].astype(np.float32) / np.float32(1000),  # stored in 1/1000 dm
    )
