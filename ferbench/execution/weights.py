"""Initial weights: resolves the value of `--init` to the hash for the cell and the file to read."""

import glob
import hashlib
import logging
from pathlib import Path

from ferbench.data.cache import cache_root
from ferbench.discovery.registry import Registry
from ferbench.errors import DataError
from ferbench.records.files import file_digest, write_atomic

log = logging.getLogger(__name__)


def resolve_init(registry: Registry, init: str, backbone: str, image_size: int) -> tuple[str, str | None]:
    """Return (`scratch` or `sha256:...`, file or None). `hub` asks timm for its weights once and keeps them as a file.

    Raises DataError if there is no such file, and UsageError for registered weights of other backbones.
    """
    if init == "scratch":
        return init, None
    registered = registry.names("weights")
    if init == "hub":
        path = _from_hub(registry, backbone, image_size)
    else:
        path = registry.load("weights", init)(backbone) if init in registered else Path(init)
    if not path.is_file():
        names = ", ".join(f"'{name}'" for name in [*registered, "hub", "scratch"])
        raise DataError(f"--init {init}: no such file; name a state dict (.safetensors or .pth) or one of {names}")
    return f"sha256:{file_digest(path)}", str(path.resolve())


def _from_hub(registry: Registry, backbone: str, image_size: int) -> Path:
    # The position embeddings of a net depend on the image size that it is built for.
    folder, stem = cache_root() / "weights", f"{backbone.replace('/', '_')}-{image_size}px"
    for path in sorted(folder.glob(f"{glob.escape(stem)}-*.safetensors")):
        if path.stem == f"{stem}-{file_digest(path)}":
            return path
        log.warning("%s has changed since it was written; the weights are fetched again", path)
        path.unlink()
    import safetensors.torch  # not needed if the file already exists

    from ferbench.execution.build import build_backbone

    try:
        built = build_backbone(registry, backbone, image_size, "hub")
    except (OSError, RuntimeError, ValueError) as error:
        raise DataError(
            f"--init hub: the weights of '{backbone}' cannot be fetched ({type(error).__name__}); "
            "give a local file with --init FILE"
        ) from None
    inner = getattr(built, "model", built)
    content = safetensors.torch.save({k: v.contiguous() for k, v in inner.state_dict().items()})
    path = folder / f"{stem}-{hashlib.sha256(content).hexdigest()}.safetensors"
    write_atomic(path, content)
    return path
