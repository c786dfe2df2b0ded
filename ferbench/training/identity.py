"""What determines a run, and what of it determines the stages that cells share: the keys of checkpoints and caches."""

from collections.abc import Sequence
from typing import Any

from ferbench.contract.method import Stage
from ferbench.contract.protocol import TUNED
from ferbench.records.schema import Config
from ferbench.training.engine import ENGINE_VERSION
from ferbench.training.provenance import code, named_parts, stamp
from ferbench.training.resolution import Resolved
from ferbench.training.task import Split

LATER_FIELDS = ("labeled_batch", "ema_decay", "joint_forward", "evaluations", "evaluation_batch")
"""Fields of a recipe that a pre-training stage knows nothing of."""


def run_identity(resolved: Resolved, config: Config, split: Split, arithmetic: Sequence[object]) -> dict[str, Any]:
    """All that the state of a run depends on; `arithmetic` is what decides its rounding."""
    cell = resolved.cell
    return {
        "config": config.model_dump(mode="json"),
        "method": [cell.method, stamp("methods", cell.method).source_hash],
        "network": [cell.backbone, cell.init, cell.head],
        "arithmetic": list(arithmetic),
        "fingerprints": split.fingerprints,
        "seed": cell.seed,
        "code": [ENGINE_VERSION, code()],
    }


def shared_identity(resolved: Resolved, split: Split, arithmetic: Sequence[object], stage: Stage) -> dict[str, Any]:
    """What a pre-training stage depends on: not labels, seed or head, and of options only those that it names."""
    cell = resolved.cell
    recipe = resolved.recipe.model_dump(mode="json", exclude={*TUNED, *LATER_FIELDS, *(stage.optimizer or {})})
    config = resolved.config.model_dump(mode="json")
    return {
        "options": {name: config[name] for name in stage.options},
        "recipe": {**recipe, "backbone": cell.backbone},
        "method": [cell.method, stamp("methods", cell.method).source_hash],
        "backbone": [cell.init, stamp(*named_parts(cell)["backbone"]).source_hash],
        "arithmetic": list(arithmetic),
        "images": split.images,
        "code": [ENGINE_VERSION, code()],
    }
