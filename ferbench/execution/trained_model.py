"""The model of a finished cell, ready for use: a module with its evaluation transform and its class names.

Only names, shapes and numbers are read from its file. The net is built by the code that is installed here. Nothing is
unpickled.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError
from torch import Tensor, nn

from ferbench.cells.blueprint import RecordedCell
from ferbench.contract.backbone import Network
from ferbench.contract.dataset import Sample
from ferbench.contract.protocol import Recipe
from ferbench.data.augment.resize import resize
from ferbench.data.load.views import ViewMaker
from ferbench.data.prepare.decode import UNDECODABLE, decode_face, resized, rgb_face
from ferbench.discovery.loader import load_registry
from ferbench.discovery.registry import Registry
from ferbench.errors import DataError, UsageError
from ferbench.execution.build import untrained_net
from ferbench.execution.devices import choose_device
from ferbench.execution.handover import CellFacts
from ferbench.readers.images import OTHER_IMAGES, unread_image
from ferbench.readers.paths import ImageFiles
from ferbench.records.schema import Record, first_problem
from ferbench.records.store import MODEL, RECORD, RunStore, find_record, read_named
from ferbench.records.tensor_files import DamagedTensorsError
from ferbench.training.checkpoint import read_tensors, tensor_shapes, unsealed
from ferbench.training.model_file import check_fits, load_tensors

MAX_SIDE = 1024
"""Largest side of an input in pixels, since a record from a stranger may name any number."""
LARGEST_BATCH = 250
Picture = Image.Image | str | os.PathLike[str]


@dataclass(frozen=True)
class EvaluationTransform:
    """Turns a picture into the net's input, as in an evaluation: RGB, upright, resized, normalised.

    `mean` and `std` are for RGB values in 0..1.
    """

    recipe: Recipe
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __call__(self, picture: Picture) -> Tensor:
        """Turn a Pillow image, or the path of an image file, into (3, S, S) float32.

        Raises DataError, which names the file, if it cannot be decoded.
        """
        return self.normalised(torch.tensor(self.stored(picture)[None]))[0]

    def stored(self, picture: Picture) -> NDArray[np.uint8]:
        """The pixels (P, P, 3) uint8 as `ferbench prepare` packs them; raises the same errors as a call."""
        if isinstance(picture, Image.Image):
            return resized(rgb_face(picture).image, self.recipe.packed_size)
        return resized(open_picture(Path(picture)), self.recipe.packed_size)

    def normalised(self, stored: Tensor) -> Tensor:
        """Turn stored pixels (B, P, P, 3) uint8 into (B, 3, S, S) float32, on their device."""
        maker = ViewMaker(self.recipe, self.mean, self.std, stored.device)
        return maker.normalised(resize(stored, self.recipe.image_size))


def open_picture(path: Path) -> Image.Image:
    """Open an image file as upright RGB; raises DataError, which names the file, if it cannot be decoded."""
    try:
        return decode_face(ImageFiles(None).read(Sample(path.name, path, "test"))).image
    except UNDECODABLE as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        if not isinstance(error, OSError) and path.name.lower().endswith(OTHER_IMAGES):
            reason = unread_image(path.name)
        raise DataError(f"{path}: {reason.removeprefix(f'{path}: ')}") from None


class TrainedModel(nn.Module):
    """The evaluated net of a finished cell: it maps normalised images (B, 3, S, S) float32 to logits (B, C) float32.

    `transform` turns a picture into an input, `class_names` are the classes in the order of the logits, `record` is the
    record of the cell. The module is in evaluation mode.
    """

    def __init__(self, net: Network, recipe: Recipe, class_names: Sequence[str], record: Record) -> None:
        super().__init__()
        self.net = net
        self.transform = EvaluationTransform(recipe, net.backbone.mean, net.backbone.std)
        self.class_names = tuple(class_names)
        self.record = record
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Map normalised images to logits; their softmax gives the probabilities."""
        logits: Tensor = self.net(images).logits
        return logits

    def logits_of(self, stored: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Map stored pixels (N, P, P, 3) uint8 to logits (N, C), in batches of the evaluation's size."""
        return self.features_of(stored)[1]

    @torch.no_grad()
    def features_of(self, stored: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Map stored pixels (N, P, P, 3) uint8, at least one image, to features (N, D) and logits (N, C)."""
        device, size = next(self.parameters()).device, min(self.transform.recipe.evaluation_batch, LARGEST_BATCH)
        outputs = [
            self.net(self.transform.normalised(torch.tensor(stored[start : start + size], device=device)))
            for start in range(0, len(stored), size)
        ]
        features, logits = ([getattr(one, name).cpu().numpy() for one in outputs] for name in ("features", "logits"))
        return np.concatenate(features), np.concatenate(logits)


def load_model(
    run: Record | str | os.PathLike[str],
    *,
    runs: str | os.PathLike[str] = "runs",
    device: str = "cpu",
    registry: Registry | None = None,
) -> TrainedModel:
    """The model of a run, with `.transform` (picture to tensor) and `.class_names`, in evaluation mode.

    `run` is a record from `ferbench.run`, whose file is in the folder `runs`, or a path: a record.json, its folder, a
    folder with one run below it, the model.safetensors beside a record, or a file from `ferbench export --to
    safetensors`. The training data is not needed. Raises DataError for any other file, and if the model is missing or
    not the record's; UsageError if a part of the net is not installed.
    """
    registry, place = registry or load_registry(), torch.device(choose_device(device))
    if isinstance(run, Record):
        return _beside(run, RunStore(Path(runs)).folder(run.cell) / MODEL, registry, place)
    path = Path(run)
    if path.is_dir() or path.suffix == ".json":
        path = find_record(path)
        return _beside(read_named(path), path.parent / MODEL, registry, place)
    if not path.exists():
        raise UsageError(f"{path}: there is no such run or model")
    return _from_file(path, registry, place)


def _from_file(path: Path, registry: Registry, device: torch.device) -> TrainedModel:
    """The model in a file of tensors: an exported file, or the file beside a record."""
    try:
        tensor_shapes(path)
        found = read_tensors(path)
    except DamagedTensorsError:
        raise DataError(
            f"{path}: neither a record.json nor a safetensors file of ferbench, so it is not loaded; name a "
            "run, or a file that `ferbench export --to safetensors` has written"
        ) from None
    if "record" not in found.state:
        if not (path.parent / RECORD).is_file():
            raise DataError(
                f"{path}: a model of unknown origin, so it is not loaded; put it beside its {RECORD}, or write "
                "it with `ferbench export --to safetensors`"
            )
        return _beside(read_named(path.parent / RECORD), path, registry, device)
    if not unsealed(found):
        raise DataError(f"{path}: changed since it was exported, so it is not loaded; export or copy it again")
    try:
        record = Record.model_validate(found.state["record"])
    except ValidationError as error:
        raise DataError(f"{path}: its record is not valid ({first_problem(error)}); export it again") from None
    model = _untrained(record, registry, device)
    check_fits(model.net, path, "export it again")
    model.net.load_state_dict(found.tensors)
    return model


def _beside(record: Record, path: Path, registry: Registry, device: torch.device) -> TrainedModel:
    """The model of a record, from the file whose digest is in the record."""
    model = _untrained(record, registry, device)
    assert record.result is not None
    load_tensors(model.net, path, record.result.model_digest)
    return model


def _untrained(record: Record, registry: Registry, device: torch.device) -> TrainedModel:
    """The model of a record before its tensors are loaded; raises DataError if the record has no model of its own."""
    result, tested = record.result, record.cell.test_on
    if result is None:
        raise DataError(f"this run has no model: it ended as '{record.status}'; run its cell again")
    if tested is not None:
        trained = record.cell.base.folder()
        raise DataError(f"this run tests a model on {tested} and has none of its own; name the run {trained}")
    cell = RecordedCell(record, registry)
    if max(cell.recipe.image_size, cell.recipe.packed_size) > MAX_SIDE:
        raise DataError(f"the record's recipe has images of more than {MAX_SIDE} pixels a side, which are not loaded")
    facts = CellFacts.of_trained(result, result.fingerprints, Path(MODEL), began=0.0)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):  # building the net sets seeds
        net = untrained_net(cell, facts, None, device)
    return TrainedModel(net, cell.recipe, cell.class_names, record)
