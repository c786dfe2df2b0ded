"""The model of a finished cell, for use: a module with the transform and the class names that it was evaluated with.

Names, shapes and numbers are read of its file; the code that builds the net is what is installed here. Nothing is
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
from ferbench.errors import DataError, UsageError, VerificationError
from ferbench.execution.build import untrained_net
from ferbench.execution.devices import choose_device
from ferbench.execution.handover import CellFacts
from ferbench.readers.paths import ImageFiles
from ferbench.records.schema import Record, first_problem
from ferbench.records.store import MODEL, RECORD, RunStore, find_record, read_record
from ferbench.records.tensor_files import DamagedTensorsError
from ferbench.training.checkpoint import read_tensors, tensor_shapes, unsealed
from ferbench.training.model_file import check_fits, load_tensors

MAX_SIDE = 1024
"""Pixels of the largest input: a record is a stranger's, and may name any number."""
LARGEST_BATCH = 250
Picture = Image.Image | str | os.PathLike[str]


@dataclass(frozen=True)
class EvaluationTransform:
    """From a picture to what the net sees of it in an evaluation: RGB, upright, resized, normalised.

    `mean` and `std` are those of RGB in 0..1.
    """

    recipe: Recipe
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __call__(self, picture: Picture) -> Tensor:
        """A picture of Pillow, or the path of one, to (3, S, S) float32.

        Raises DataError, naming the file, for what cannot be decoded.
        """
        return self.normalised(torch.tensor(self.stored(picture)[None]))[0]

    def stored(self, picture: Picture) -> NDArray[np.uint8]:
        """The pixels (P, P, 3) uint8 as `ferbench prepare` packs them; raises as a call does."""
        if isinstance(picture, Image.Image):
            return resized(rgb_face(picture).image, self.recipe.packed_size)
        return resized(open_picture(Path(picture)), self.recipe.packed_size)

    def normalised(self, stored: Tensor) -> Tensor:
        """Stored pixels (B, P, P, 3) uint8 to (B, 3, S, S) float32, on their device."""
        maker = ViewMaker(self.recipe, self.mean, self.std, stored.device)
        return maker.normalised(resize(stored, self.recipe.image_size))


def open_picture(path: Path) -> Image.Image:
    """An image file in RGB, upright; raises DataError with its name where it is none that can be decoded."""
    try:
        return decode_face(ImageFiles(None).read(Sample(path.name, path, "test"))).image
    except UNDECODABLE as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise DataError(f"{path}: {reason.removeprefix(f'{path}: ')}") from None


class TrainedModel(nn.Module):
    """The evaluated net of a finished cell: normalised images (B, 3, S, S) float32 to logits (B, C) float32.

    `transform` makes an image of a picture, `class_names` are the classes in the order of the logits, `record` is the
    record of the cell. It is in evaluation mode.
    """

    def __init__(self, net: Network, recipe: Recipe, class_names: Sequence[str], record: Record) -> None:
        super().__init__()
        self.net = net
        self.transform = EvaluationTransform(recipe, net.backbone.mean, net.backbone.std)
        self.class_names = tuple(class_names)
        self.record = record
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images to logits, which softmax makes probabilities of."""
        logits: Tensor = self.net(images).logits
        return logits

    def logits_of(self, stored: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Stored pixels (N, P, P, 3) uint8 to logits (N, C), in the batches of an evaluation."""
        return self.features_of(stored)[1]

    @torch.no_grad()
    def features_of(self, stored: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Stored pixels (N, P, P, 3) uint8, at least one, to features (N, D) and logits (N, C)."""
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

    `run` is a record as `ferbench.run` returns it, whose file lies in the folder `runs`, or a path: a record.json, its
    folder, a folder with one run below it, the model.safetensors beside a record, or a file of `ferbench export --to
    safetensors`. The data that it was trained on is not needed. Raises DataError for a file that is none of these, and
    where the model is missing or another; UsageError where a part of the net is not installed.
    """
    registry, place = registry or load_registry(), torch.device(choose_device(device))
    if isinstance(run, Record):
        return _beside(run, RunStore(Path(runs)).folder(run.cell) / MODEL, registry, place)
    path = Path(run)
    if path.is_dir() or path.suffix == ".json":
        path = find_record(path)
        return _beside(_read(path), path.parent / MODEL, registry, place)
    if not path.exists():
        raise UsageError(f"{path}: there is no such run or model")
    return _from_file(path, registry, place)


def _from_file(path: Path, registry: Registry, device: torch.device) -> TrainedModel:
    """The model of a file of tensors: an exported one, or the one beside a record."""
    try:
        tensor_shapes(path)
        found = read_tensors(path)
    except DamagedTensorsError:
        raise DataError(
            f"{path}: neither a record.json nor a safetensors file of ferbench, so nothing of it is loaded; name a "
            "run, or a file that `ferbench export --to safetensors` has written"
        ) from None
    if "record" not in found.state:
        if not (path.parent / RECORD).is_file():
            raise DataError(
                f"{path}: a model of unknown origin, so nothing of it is loaded; put it beside its {RECORD}, or write "
                "it with `ferbench export --to safetensors`"
            )
        return _beside(_read(path.parent / RECORD), path, registry, device)
    if not unsealed(found):
        raise DataError(f"{path}: not as it was exported, so nothing of it is loaded; export or copy it again")
    try:
        record = Record.model_validate(found.state["record"])
    except ValidationError as error:
        raise DataError(f"{path}: the record in it is none ({first_problem(error)}); export it again") from None
    model = _untrained(record, registry, device)
    check_fits(model.net, path, "export it again")
    model.net.load_state_dict(found.tensors)
    return model


def _beside(record: Record, path: Path, registry: Registry, device: torch.device) -> TrainedModel:
    """The model of a record from the file that the record holds the digest of."""
    model = _untrained(record, registry, device)
    assert record.result is not None
    load_tensors(model.net, path, record.result.model_digest)
    return model


def _untrained(record: Record, registry: Registry, device: torch.device) -> TrainedModel:
    """The model of a record before its tensors are loaded; raises DataError for a record that has none of its own."""
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
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):  # seeds are set while it is built
        net = untrained_net(cell, facts, None, device)
    return TrainedModel(net, cell.recipe, cell.class_names, record)


def _read(path: Path) -> Record:
    try:
        return read_record(path)
    except VerificationError as error:
        raise VerificationError(f"{path}: {error}") from None
