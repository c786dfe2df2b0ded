"""From the ten votes on an image of FERPlus to its label: Microsoft's three rules, and two that papers use.

A rule takes the votes for the ten columns and returns what counts of those for the eight emotions; all of it is 0 where
the image is left out. Microsoft's rules begin by dropping every vote that is alone.
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
    """A rule, the part of a dataset's name that says so, and what it does in words."""

    name: str
    kept: Callable[[Votes], Votes]
    text: str

    def label(self, votes: Votes) -> str | Mapping[str, float] | None:
        """The class, or the shares of several, of an image with these votes; None where it is left out."""
        kept = self.kept(votes)
        shares = {name: n / sum(kept) for name, n in zip(EMOTIONS, kept, strict=True) if n}
        return shares if len(shares) > 1 else next(iter(shares), None)


def _without_single(votes: Votes) -> list[int]:
    return [n if n > 1 else 0 for n in votes]


def _only(kept: Votes, position: int) -> Votes:
    return [n if i == position else 0 for i, n in enumerate(kept[:N])]


def _most(votes: Votes) -> int:
    """The column with most votes, the first of several."""
    return max(range(len(votes)), key=votes.__getitem__)


def _n_classes(kept: Votes) -> int:
    return sum(n > 0 for n in kept)


def majority(votes: Votes) -> Votes:
    """The class with more than half of the votes."""
    votes = _without_single(votes)
    top = _most(votes)
    return _only(votes, top) if 2 * votes[top] > sum(votes) else NOTHING


def probability(votes: Votes) -> Votes:
    """The strongest classes, equal ones together, until three of them or three quarters of the votes are taken.

    Unknown and NF end this. The image is left out where more than three classes or half of the votes or less are taken,
    or where no emotion comes before or with unknown and NF.
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

    The image is left out where these hold half of the votes or less, or where unknown or NF is the strongest.
    """
    votes = _without_single(votes)
    kept = [n if 10 * n >= 3 * sum(votes) else 0 for n in votes]
    return kept[:N] if 2 * sum(kept) > sum(votes) and _most(kept) < N else NOTHING


def argmax(votes: Votes) -> Votes:
    """The column with most votes, the first of several; unknown and NF are left out."""
    return _only(votes, _most(votes))


def argmax_emotions(votes: Votes) -> Votes:
    """The emotion with most votes, the first of several, so neutral where all votes are for unknown or NF."""
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
