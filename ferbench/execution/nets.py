"""Whether a net can be built, takes images of a size, and begins with a file of weights: looked at without training."""

import warnings
from pathlib import Path

import torch

from ferbench.contract.backbone import token_backbone
from ferbench.contract.weights import Match
from ferbench.discovery.registry import Registry
from ferbench.errors import DataError, FerbenchError, PluginError, UsageError
from ferbench.execution.build import build_backbone
from ferbench.training.distributed import check_parts

OTHER_SIZE = 224


def check_backbone(registry: Registry, name: str, image_size: int, tokens: bool = False, processes: int = 1) -> None:
    """Build the net without memory and send two images through; one that cannot be is a UsageError.

    So is one without `tokens`, where the method wants them, and one that several processes cannot share. A builder that
    fails whatever the size of images is a PluginError.
    """
    problem: Exception | None = None
    # A net that looks at values fails on meta tensors; then the real ones decide.
    for device in ("meta", "cpu"):
        try:
            _send_images(registry, name, image_size, tokens, processes, device)
            return
        except FerbenchError:
            raise
        except Exception as error:  # whatever a builder raises
            problem = error
    reason = " ".join(f"{type(problem).__name__}: {problem}".split()).removesuffix(":")[:200]
    try:
        build_backbone(registry, name, OTHER_SIZE, None)
    except Exception:  # it is not the size
        entry = registry.get("backbones", name.partition("/")[0])
        raise PluginError(
            f"backbone '{name}' of {entry.distribution} {entry.version} cannot be built ({reason}); choose another "
            f"--backbone, or mend {entry.target}"
        ) from problem
    raise UsageError(
        f"backbone '{name}' does not take images of {image_size} px ({reason}); "
        "choose another --backbone or --set image_size=..."
    )


def _send_images(registry: Registry, name: str, image_size: int, tokens: bool, processes: int, device: str) -> None:
    with torch.device(device), torch.no_grad():
        backbone = build_backbone(registry, name, image_size, None)
        backbone(torch.empty(2, 3, image_size, image_size))
    if tokens:
        token_backbone(backbone, name)
    check_parts(backbone, processes)


def check_init(registry: Registry, backbone: str, image_size: int, path: str) -> Match | None:
    """Fit a file to a net that is built without memory; None where the builder does not say what matched.

    Raises DataError for a file that does not fit or cannot be read safely, UsageError for a backbone that takes none.
    """
    problem: Exception | None = None
    # A net that looks at values fails on meta tensors; then the real ones decide.
    for device in ("meta", "cpu"):
        try:
            with torch.device(device), warnings.catch_warnings(action="ignore"):
                return build_backbone(registry, backbone, image_size, Path(path)).init_match
        except FerbenchError:
            raise
        except Exception as error:  # whatever a builder raises
            problem = error
    reason = " ".join(f"{type(problem).__name__}: {problem}".split()).removesuffix(":")[:200]
    raise DataError(
        f"{path}: backbone '{backbone}' cannot begin with these weights ({reason}); name others with --init, or omit it"
    ) from problem
