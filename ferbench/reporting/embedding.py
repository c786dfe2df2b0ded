"""A map of the test images by their features in a trained net: two dimensions, by t-SNE."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ferbench.discovery.registry import Registry
from ferbench.errors import DataError, UsageError
from ferbench.execution.trained_model import load_model
from ferbench.render.escape import plain
from ferbench.render.palette import LIGHT, series_name
from ferbench.render.svg import draw
from ferbench.reporting.local_data import LocalData

SIZES = ((892.0, 520.0), (434.0, 420.0))
"""Sizes of the plot in pixels, for wide and for narrow screens."""
MOST = 1000
"""Most images: more would be slow, and the dots would overlap."""
FEWEST = 10
PERPLEXITY = 30.0
LABEL = 18
MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")


def check_extra() -> None:
    """Raises UsageError that names the extra if scikit-learn is not installed."""
    try:
        import sklearn.manifold  # noqa: F401
    except ImportError:
        raise UsageError(
            "the embedding needs scikit-learn; install it with: pip install 'ferbench[embedding]'"
        ) from None


def embedding_plots(record: Path, registry: Registry, local: LocalData) -> list[str]:
    """Plots of a record's test images by class, one for each size; wrong predictions are hollow.

    At most `MOST` images are shown, taken evenly from the split. Raises DataError if the model is not next to the
    record, or there are too few images.
    """
    model = load_model(record, registry=registry)
    rows = np.array(local.data.selection.test)
    rows = rows[np.linspace(0, len(rows) - 1, min(MOST, len(rows))).round().astype(np.int64)]
    if len(rows) < FEWEST:
        raise DataError(f"{len(rows)} test images are too few for an embedding")
    features, logits = model.features_of(local.data.images.images[rows])
    labels = local.data.images.label_positions(rows.tolist(), model.class_names)
    right = logits.argmax(axis=1) == labels
    places = placed(features)
    return [draw(*size, partial(_paint, places, labels, right, model.class_names)) for size in SIZES]


def placed(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Map features (N, D) to two dimensions (N, 2) by t-SNE (van der Maaten and Hinton 2008); deterministic."""
    from sklearn.manifold import TSNE

    perplexity = min(PERPLEXITY, (len(features) - 1) / 3)
    found: NDArray[np.float32] = TSNE(perplexity=perplexity, init="random", random_state=0).fit_transform(features)
    return found


def _paint(
    places: NDArray[np.float32],
    labels: NDArray[np.int64],
    right: NDArray[np.bool_],
    names: Sequence[str],
    figure: Figure,
) -> None:
    axes = figure.subplots()
    dots = []
    for number in range(len(names)):
        colour, mark = LIGHT[series_name(number)], MARKS[number % len(MARKS)]
        for inside, mine in ((colour, right), ("none", ~right)):
            x, y = places[(labels == number) & mine].T
            dots.append(axes.scatter(x, y, s=18, marker=mark, linewidths=1, facecolors=inside, edgecolors=colour))
    axes.set(xticks=[], yticks=[], xlabel="t-SNE 1", ylabel="t-SNE 2")
    axes.set_title("Embedding of test images", loc="left", pad=8)
    legend = figure.legend(dots[::2], ["name"] * len(names), loc="outside right upper")
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_text(plain(name, LABEL))
