"""Initial weights: what `--init` names, as the hash that goes into the cell and the file that is read."""

import hashlib
from pathlib import Path

import safetensors.torch

from ferbench.data.cache import cache_root
from ferbench.discovery.registry import Registry
from ferbench.errors import DataError
from ferbench.execution.build import build_backbone
from ferbench.records.files import write_atomic


def resolve_init(registry: Registry, init: str, backbone: str, image_size: int) -> tuple[str, str | None]:
    """(`scratch` or `sha256:...`, file or None). `hub` asks timm for its weights once and keeps them as a file."""
    if init == "scratch":
        return init, None
    path = _from_hub(registry, backbone, image_size) if init == "hub" else Path(init)
    if not path.is_file():
        raise DataError(f"--init {init}: no such file; name a state dict (.safetensors or .pth), 'hub' or 'scratch'")
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}", str(path.resolve())


def _from_hub(registry: Registry, backbone: str, image_size: int) -> Path:
    # A net that is built for its image size has position embeddings of that size.
    path = cache_root() / "weights" / f"{backbone.replace('/', '_')}-{image_size}px.safetensors"
    if not path.is_file():
        try:
            built = build_backbone(registry, backbone, image_size, "hub")
        except (OSError, RuntimeError, ValueError) as error:
            raise DataError(
                f"--init hub: the weights of '{backbone}' cannot be fetched ({type(error).__name__}); "
                "give a local file with --init FILE"
            ) from None
        inner = getattr(built, "model", built)
        # Whole or not at all: other processes read the file, and its hash names the cell.
        write_atomic(path, safetensors.torch.save({k: v.contiguous() for k, v in inner.state_dict().items()}))
    return path
