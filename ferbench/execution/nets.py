"""Checks, without training, that a net can be built, accepts an image size, and can start from a file of weights."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

from ferbench.contract.backbone import token_backbone
from ferbench.contract.weights import Match
from ferbench.discovery.registry import Registry
from ferbench.errors import DataError, FerbenchError, PluginError, UsageError
from ferbench.execution.build import build_backbone
from ferbench.training.distributed import check_parts

OTHER_SIZE = 224
R = TypeVar("R")


def check_backbone(registry: Registry, name: str, image_size: int, tokens: bool = False, processes: int = 1) -> None:
    """Build the net without memory and send two images through; raises UsageError if that fails.

    Also raises UsageError if the method needs `tokens` and the net has none, or if several processes cannot share the
    net. Raises PluginError if the builder fails for every image size.
    """
    try:
        _without_memory(lambda: _send_images(registry, name, image_size, tokens, processes))
        return
    except _UnbuiltError as error:
        reason, problem = str(error), error.__cause__
    try:
        build_backbone(registry, name, OTHER_SIZE, None)
    except Exception:  # the image size is not the reason
        entry = registry.get("backbones", name.partition("/")[0])
        raise PluginError(
            f"backbone '{name}' of {entry.distribution} {entry.version} cannot be built ({reason}); choose another "
            f"--backbone, or repair {entry.target}"
        ) from problem
    raise UsageError(
        f"backbone '{name}' does not take images of {image_size} px ({reason}); "
        "choose another --backbone or --set image_size=..."
    )


def _send_images(registry: Registry, name: str, image_size: int, tokens: bool, processes: int) -> None:
    with torch.no_grad():
        backbone = build_backbone(registry, name, image_size, None)
        backbone(torch.empty(2, 3, image_size, image_size))
    if tokens:
        token_backbone(backbone, name)
    check_parts(backbone, processes)


def check_init(registry: Registry, backbone: str, image_size: int, path: str) -> Match | None:
    """Fit a file to a net that is built without memory. None if the builder does not say what matched.

    Raises DataError for a file that does not fit or cannot be read safely, and UsageError if the backbone takes no
    file.
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            return _without_memory(lambda: build_backbone(registry, backbone, image_size, Path(path)).init_match)
    except _UnbuiltError as error:
        raise DataError(
            f"{path}: backbone '{backbone}' cannot start from these weights ({error}); name others with --init, or "
            "omit it"
        ) from error.__cause__


class _UnbuiltError(Exception):
    """The error of a builder, in words; the error itself is the cause."""


def _without_memory(build: Callable[[], R]) -> R:
    """Call a builder on meta tensors. A net that looks at values fails there; then it is built with real tensors."""
    problem: Exception | None = None
    for device in ("meta", "cpu"):
        try:
            with torch.device(device):
                return build()
        except FerbenchError:
            raise
        except Exception as error:  # a builder may raise anything
            problem = error
    raise _UnbuiltError(" ".join(f"{type(problem).__name__}: {problem}".split()).removesuffix(":")[:200]) from problem
