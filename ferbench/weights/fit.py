"""Fit a file of weights to a net: find the place and prefix that fit best, and refuse files of other nets."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from ferbench.contract.weights import Match, WeightsMismatch
from ferbench.weights.files import State, read_states
from ferbench.weights.layouts import layout_of

Adapt = Callable[[str, Tensor, Tensor], tuple[Tensor, str] | None]
"""A function of a name, the file's tensor and the net's (another shape); returns a fitting tensor and a note, or None.
"""

COUNTER = "num_batches_tracked"
"""A buffer that BatchNorm has since PyTorch 0.4.1; PyTorch also loads older files without it."""
BYSTANDERS = (COUNTER, "total_ops", "total_params", "relative_position_index", "relative_coords_table", "attn_mask")
"""Buffers in files that do not identify a net: counters of profilers, tables that a net computes."""
MOST_MISSING = 0.05
"""Largest share of the net's tensors that a file may lack; only vectors: norms and biases start at 1 and 0."""
PREFIXES = 3


def load_weights(net: nn.Module, path: Path, *, adapt: Adapt | None = None, classifier: Sequence[str] = ()) -> Match:
    """Fill a net from a file of weights; return which tensors matched, which are left over and which are missing.

    The state dict may be below other keys, and its names may have a prefix. `adapt` makes tensors of another shape fit;
    `classifier` names parts that were removed from the net. A net on meta tensors is checked, but not filled. Raises
    WeightsMismatch if the file is for another net, DataError if it cannot be read without unpickling.
    """
    best = _best(path, net.state_dict(), adapt, classifier)
    if best.match.reason:
        raise WeightsMismatch(best.match, best.remedy)
    if not any(tensor.is_meta for tensor in best.wanted.values()):
        with torch.no_grad():
            for name, tensor in best.wanted.items():
                if name in best.tensors:
                    tensor.copy_(best.tensors[name])
    return best.match


@dataclass(frozen=True)
class _Fit:
    """The match of one place and prefix in a file with the net."""

    match: Match
    wanted: Mapping[str, Tensor]
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    remedy: str = ""

    @property
    def rank(self) -> tuple[int, int, int]:
        match = self.match
        return match.fitting, len(match.misshapen), 0 if match.fitting else len(match.left_over)

    @property
    def where(self) -> str:
        return ".".join(part for part in (self.match.place, self.match.prefix.rstrip(".")) if part) or "the top"


def _best(path: Path, wanted: Mapping[str, Tensor], adapt: Adapt | None, classifier: Sequence[str]) -> _Fit:
    states = read_states(path)
    fits = [
        _fit(path, place, prefix, state, wanted, adapt)
        for place, state in states.items()
        for prefix in _prefixes(state, wanted)
    ]
    best = max(fits, key=lambda fit: fit.rank)  # the first one, if several are equal
    others = tuple(fit.where for fit in fits if fit is not best and fit.match.fitting and fit.rank == best.rank)
    match = replace(best.match, others=others)
    reason, remedy = _refusal(match, states[match.place], wanted, classifier)
    return replace(best, match=replace(match, reason=reason), remedy=remedy)


def _prefixes(state: State, wanted: Mapping[str, Tensor]) -> list[str]:
    """Return the prefixes that most of the net's names have in the file, the most frequent first."""
    counts: Counter[str] = Counter()
    for key in state:
        starts = [0, *(found.end() for found in re.finditer(r"\.", key))]
        counts.update(key[:start] for start in starts if key[start:] in wanted)
    return [prefix for prefix, _ in counts.most_common(PREFIXES)] or [""]


def _fit(path: Path, place: str, prefix: str, state: State, wanted: Mapping[str, Tensor], adapt: Adapt | None) -> _Fit:
    tensors: dict[str, Tensor] = {}
    adapted, misshapen, missing = {}, {}, []
    for name, mine in wanted.items():
        theirs = state.get(prefix + name)
        if theirs is None:
            missing += [] if name.endswith(COUNTER) else [name]
        elif theirs.shape == mine.shape:
            tensors[name] = theirs
        elif made := adapt and adapt(name, theirs, mine):
            tensors[name], adapted[name] = made
        else:
            misshapen[name] = f"{_size(theirs)}, not {_size(mine)}"
    left_over = tuple(key for key in state if not (key.startswith(prefix) and key.removeprefix(prefix) in wanted))
    matched = tuple(name for name in tensors if name not in adapted)
    match = Match(path, place, prefix, matched, adapted, misshapen, tuple(missing), left_over)
    return _Fit(match, wanted, tensors)


def _refusal(match: Match, state: State, wanted: Mapping[str, Tensor], classifier: Sequence[str]) -> tuple[str, str]:
    """Return why a file does not belong to the net, and a remedy; two empty texts if it does."""
    random = [name for name in match.missing if wanted[name].dim() > 1]
    strange = list(_more_of_the_net(match, wanted, classifier))
    many = len(match.missing) > MOST_MISSING * match.total
    if not (match.misshapen or random or strange or many):
        return "", ""
    if match.misshapen and not (random or strange):
        reason = _other_shape(match, state, wanted)
    elif strange and not (match.misshapen or random):
        reason = f"another depth or architecture, with an additional {strange[0]}"
    elif match.missing and (match.fitting or match.misshapen):
        reason = f"another architecture, without {(random or match.missing)[0]}"
    else:
        reason = "another architecture"
    reason, remedy = f"weights of {reason}", "name weights for this backbone, or the backbone of these weights"
    theirs, mine = (layout_of({name: tuple(each.shape) for name, each in some.items()}) for some in (state, wanted))
    if theirs and (not mine or theirs.name != mine.name):
        backbone = f"the backbone is {mine.name}" if mine else "the backbone is not"
        return f"{reason}: {theirs.name}; {backbone}", theirs.advice()
    return reason, remedy


def _more_of_the_net(match: Match, wanted: Mapping[str, Tensor], classifier: Sequence[str]) -> Iterator[str]:
    """Yield left-over tensors in lists of blocks that the net also has: further blocks, or more tensors in a block."""
    lists = {found[0] for name in wanted for found in re.finditer(r"^(?:.*?\.)??(?=\d+\.)", name)}
    for key in match.left_over:
        name = key.removeprefix(match.prefix)
        if not key.startswith(match.prefix) or name.rpartition(".")[2] in BYSTANDERS:
            continue
        if any(name.startswith(f"{part}.") for part in classifier):
            continue
        if any(re.match(rf"{re.escape(each)}\d+\.", name) for each in lists):
            yield name


def _other_shape(match: Match, state: State, wanted: Mapping[str, Tensor]) -> str:
    """Return the likely reason for tensors of another shape, judged by the first convolution, else the first tensor."""
    name = min(match.misshapen, key=lambda each: wanted[each].dim() != 4)
    theirs, mine = list(state[match.prefix + name].shape), list(wanted[name].shape)
    if len(theirs) == len(mine) == 4 and theirs[:2] == mine[:2]:
        what = "patch size" if "patch" in name else "size of convolutions"
    elif len(theirs) == len(mine) == 4 and theirs[0] == mine[0] and len(match.misshapen) == 1:
        what = "number of input channels"
    elif len(theirs) == len(mine) == 3 and theirs[2] == mine[2]:
        what = "number of patches"
    else:
        what = "width" if len(theirs) == len(mine) else "architecture"
    return f"another {what} ({name} {match.misshapen[name]})"


def _size(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "one number"
