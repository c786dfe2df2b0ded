"""Keys of checkpoints and caches: what determines a run, and what determines the stages that cells share."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ferbench.cells.code_stamps import code, named_parts, stamp
from ferbench.cells.resolve import ResolvedCell, option_values, view_kinds
from ferbench.records.formats import ENGINE_VERSION
from ferbench.records.schema import Fingerprints, RecordConfig

if TYPE_CHECKING:
    from ferbench.contract.stage import Stage

LATER_FIELDS = ("labeled_batch", "ema_decay", "ema_ramp", "joint_forward", "evaluations", "evaluation_batch")
"""Fields of a recipe that do not affect a pre-training stage."""


def run_identity(
    resolved: ResolvedCell, config: RecordConfig, fingerprints: Fingerprints, arithmetic: Sequence[object]
) -> dict[str, Any]:
    """Return everything that the state of a run depends on; `arithmetic` lists what decides its rounding."""
    cell = resolved.cell
    return {
        "config": config.model_dump(mode="json"),
        "method": [cell.method, stamp(resolved.registry, "methods", cell.method).source_hash],
        "network": [cell.backbone, cell.init, cell.head],
        "views": view_stamps(resolved),
        "arithmetic": list(arithmetic),
        "fingerprints": fingerprints.by_name(),
        "seed": cell.seed,
        "code": [ENGINE_VERSION, code()],
    }


def shared_identity(
    resolved: ResolvedCell, images: str, arithmetic: Sequence[object], stage: "Stage"
) -> dict[str, Any]:
    """Return what a pre-training stage depends on: no labels, seed or head, and only the options that it names.

    `images` is a digest of the images that it draws.
    """
    cell = resolved.cell
    recipe = resolved.recipe.model_dump(mode="json", exclude={*LATER_FIELDS, *_replaced(stage)})
    config = option_values(resolved.config)
    return {
        "options": {name: config[name] for name in stage.options},
        "recipe": {**recipe, "backbone": cell.backbone},
        "method": [cell.method, stamp(resolved.registry, "methods", cell.method).source_hash],
        "views": view_stamps(resolved),
        "backbone": [cell.init, stamp(resolved.registry, *named_parts(cell)["backbone"]).source_hash],
        "arithmetic": list(arithmetic),
        "images": images,
        "code": [ENGINE_VERSION, code()],
    }


def view_stamps(resolved: ResolvedCell) -> dict[str, str]:
    """Return the source hashes of the views that the method asks for, by name."""
    kinds = view_kinds(resolved.declared)
    return {kind: stamp(resolved.registry, "views", kind).source_hash for kind in kinds}


def _replaced(stage: "Stage") -> dict[str, Any]:
    return stage.optimizer.values if stage.optimizer else {}
