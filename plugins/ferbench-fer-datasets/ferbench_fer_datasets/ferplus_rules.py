"""Rules that turn the ten votes on an image of FERPlus into a label: three of Microsoft, and two that papers use.

A rule takes the votes for the ten columns and returns the votes that count for the eight emotions; all are 0 if the
image is omitted. Microsoft's rules first drop a single vote in a column.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

EMOTIONS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
COLUMNS = (*EMOTIONS, "unknown", "NF")
N = len(EMOTIONS)
NOTHING = [0] * N

Votes = Sequence[int]


@dataclass(frozen=True)
class Rule:
    """A rule: its part of a dataset's name, its function, and its description."""

    name: str
    kept: Callable[[Votes], Votes]
    text: str

    def label(self, votes: Votes) -> str | Mapping[str, float] | None:
        """The class of an image with these votes, or the shares of several classes; None if it is omitted."""
        kept = self.kept(votes)
        shares = {name: n / sum(kept) for name, n in zip(EMOTIONS, kept, strict=True) if n}
        return shares if len(shares) > 1 else next(iter(shares), None)


def _without_single(votes: Votes) -> list[int]:
    return [n if n > 1 else 0 for n in votes]


def _only(kept: Votes, position: int) -> Votes:
    return [n if i == position else 0 for i, n in enumerate(kept[:N])]


def _most(votes: Votes) -> int:
    """The index of the first column with the most votes."""
    return max(range(len(votes)), key=votes.__getitem__)


def _n_classes(kept: Votes) -> int:
    return sum(n > 0 for n in kept)


def majority(votes: Votes) -> Votes:
    """The class with more than half of the votes."""
    votes = _without_single(votes)
    top = _most(votes)
    return _only(votes, top) if 2 * votes[top] > sum(votes) else NOTHING


def probability(votes: Votes) -> Votes:
    """The strongest classes, ties together, until they are three or have three quarters of the votes.

    This also ends at unknown or NF. The image is omitted if more than three classes are taken, if they have half of the
    votes or fewer, or if unknown or NF comes before all emotions.
    """
    votes = _without_single(votes)
    kept = NOTHING
    for level in sorted(set(votes) - {0}, reverse=True):
        kept = [n if n >= level else 0 for n in votes[:N]]
        if level in votes[N:] or _n_classes(kept) >= 3 or 4 * sum(kept) >= 3 * sum(votes):
            break
    return kept if _n_classes(kept) <= 3 and 2 * sum(kept) > sum(votes) else NOTHING


def multi_target(votes: Votes) -> Votes:
    """Every class with 30 % of the votes or more.

    The image is omitted if these columns have half of the votes or fewer together, or if unknown or NF has the most.
    """
    votes = _without_single(votes)
    kept = [n if 10 * n >= 3 * sum(votes) else 0 for n in votes]
    return kept[:N] if 2 * sum(kept) > sum(votes) and _most(kept) < N else NOTHING


def argmax(votes: Votes) -> Votes:
    """The first column with the most votes; the image is omitted if that is unknown or NF."""
    return _only(votes, _most(votes))


def argmax_emotions(votes: Votes) -> Votes:
    """The first emotion with the most votes, so neutral if all votes are for unknown or NF."""
    return _only([1] * N, _most(votes[:N]))


MAJORITY = Rule("majority", majority, "the class with more than half of the votes (Microsoft's rule 'majority')")
PROBABILITY = Rule(
    "probability",
    probability,
    "shares of the up to three classes that hold three quarters of the votes (Microsoft's rule 'probability')",
)
MULTI_TARGET = Rule(
    "multi-target", multi_target, "shares of the classes with 30 % of the votes (Microsoft's rule 'multi_target')"
)
ARGMAX = Rule("argmax", argmax, "the class with most votes of all ten, the first of several; unknown and NF left out")
ARGMAX_EMOTIONS = Rule(
    "argmax-emotions", argmax_emotions, "the class with most votes of the eight emotions, the first of several"
)
