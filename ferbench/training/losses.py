"""Checks that a loss returned what the contract says. Each error names the method, the stage and the term."""

from torch import Tensor

from ferbench.contract.batch import Batch, Losses
from ferbench.contract.method import Method
from ferbench.contract.stage import Stage
from ferbench.errors import PluginError


def check_losses(losses: object, batch: Batch, method: Method, stage: Stage) -> Losses:
    """The losses, if their types and shapes match `Losses`. Values are not checked, since reading them would wait."""
    where = f"{type(method).__name__}: the loss of stage '{stage.name}'"
    if not isinstance(losses, Losses):
        raise PluginError(f"{where} returned a {type(losses).__name__}; return Losses(total, ...)")
    named = [("its total", losses.total), *((f"term '{name}'", value) for name, value in losses.terms.items())]
    for what, value in named:
        if not isinstance(value, Tensor):
            raise PluginError(f"{where}: {what} is a {type(value).__name__}; a scalar tensor is expected")
        if value.ndim or value.is_complex():
            raise PluginError(
                f"{where}: {what} has shape {tuple(value.shape)}; a scalar tensor is expected, such as its mean()"
            )
    if losses.pseudo_label is not None and losses.mask is not None:
        _check_pseudo_labels(where, losses.pseudo_label, losses.mask, batch)
    return losses


def _check_pseudo_labels(where: str, pseudo_label: object, mask: object, batch: Batch) -> None:
    if batch.unlabeled is None:
        raise PluginError(f"{where}: pseudo_label and mask are given, but the stage draws no unlabeled images")
    count = len(batch.unlabeled.index)
    for name, value, right in (("pseudo_label", pseudo_label, "int64"), ("mask", mask, "float")):
        if not isinstance(value, Tensor):
            raise PluginError(f"{where}: {name} is a {type(value).__name__}; a tensor ({count},) {right} is expected")
        fits = value.is_floating_point() if right == "float" else str(value.dtype) == "torch.int64"
        if not fits or value.shape != (count,):
            raise PluginError(
                f"{where}: {name} is {tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}; ({count},) "
                f"{right} is expected, a value for each of the {count} unlabeled images in their order"
            )
