"""The rotation of the head and its projection onto the canvas."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ferbench_synthfaces.render.assets import Assets
from ferbench_synthfaces.render.difficulty import Difficulty
from ferbench_synthfaces.render.identity import Identity
from ferbench_synthfaces.render.vectors import dot, length

Floats = NDArray[np.float32]

PIVOT = np.array([0, 7.2, 0.6], np.float32)  # the head turns about this point, dm
CANVAS_CENTRE = np.array([0.5, 0.52], np.float32)  # position of the middle between eyes and mouth
POSE_LIMIT = 2.2  # standard deviations


@dataclass(frozen=True)
class Pose:
    """Rotation of the head in degrees: to its left, downwards, and clockwise for itself."""

    yaw: float
    pitch: float
    roll: float

    def matrix(self) -> Floats:
        """The rotation (3, 3): yaw first, then pitch, then roll."""
        (sy, sp, sr), (cy, cp, cr) = (f(np.radians([self.yaw, self.pitch, self.roll])) for f in (np.sin, np.cos))
        yaw = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        pitch = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
        roll = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
        return (roll @ pitch @ yaw).astype(np.float32)


@dataclass(frozen=True)
class Camera:
    """A perspective camera on the z axis of the view, looking at the pivot."""

    pose: Pose
    rotation: Floats  # (3, 3)
    distance: float  # from the pivot, dm
    scale: float  # pixels per dm at the pivot
    centre: Floats  # (2,) point of the image plane (dm, y down) that CANVAS_CENTRE shows
    canvas: int  # height = width, pixels

    def turn(self, directions: Floats) -> Floats:
        """Directions (..., 3) of the head -> of the view."""
        return np.stack([dot(directions, row) for row in self.rotation], -1)

    def view(self, points: Floats) -> Floats:
        """Points (..., 3) of the head -> of the view."""
        return self.turn(points - PIVOT)

    def to_canvas(self, view: Floats) -> Floats:
        """Points (..., 3) of the view -> pixels (..., 2), x right and y down."""
        plane = _project(view, self.distance)
        return ((plane - self.centre) * np.float32(self.scale) + self.canvas * CANVAS_CENTRE).astype(np.float32)


def _project(view: Floats, distance: float) -> Floats:
    """Perspective: points (..., 3) of the view -> image plane (..., 2) in dm at the pivot, y down."""
    shrink = np.float32(distance) / (np.float32(distance) - view[..., 2:3])
    return view[..., :2] * shrink * np.array([1, -1], np.float32)


def sample_camera(
    assets: Assets, identity: Identity, difficulty: Difficulty, canvas: int, rng: np.random.Generator
) -> Camera:
    """Draw a pose, and a crop aligned on eyes and mouth of the *neutral* head, as in landmark-aligned datasets."""
    spread = (difficulty.yaw, difficulty.pitch, difficulty.roll)
    yaw, pitch, roll = np.clip(rng.normal(0, 1, 3), -POSE_LIMIT, POSE_LIMIT) * spread
    pose = Pose(float(yaw), float(pitch), float(roll))
    distance = rng.uniform(8, 20)
    upright = Camera(pose, pose.matrix(), distance, 1.0, np.zeros(2, np.float32), canvas)
    right, left = assets.eye_centres_of(identity.vertices)
    cornea = np.array([0, 0, 0.12], np.float32)  # from the ball's centre
    eyes: Floats = (right + left) * np.float32(0.5) + cornea
    mouth: Floats = identity.vertices[assets.lips > 0.5].mean(0)
    eyes_seen, mouth_seen = (_project(upright.view(point), distance) for point in (eyes, mouth))
    # Mean of true and projected length, so that a nodding head shrinks or grows less than its foreshortened face.
    seen = float(np.hypot(*(eyes_seen - mouth_seen)))
    apart = 0.5 * float(length(eyes - mouth)) + 0.5 * seen
    scale = difficulty.eye_mouth * canvas / apart * rng.normal(1, 0.05)
    centre = (eyes_seen + mouth_seen) / 2 + rng.normal(0, 0.03, 2) * apart
    return Camera(pose, upright.rotation, distance, float(scale), centre.astype(np.float32), canvas)
