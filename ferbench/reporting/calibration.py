"""The reliability diagram of test predictions: accuracy by confidence."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from ferbench.leaderboard.statistics import wilson
from ferbench.records.metrics import Calibration, calibration
from ferbench.records.predictions import Predictions
from ferbench.render.palette import LIGHT
from ferbench.render.svg import draw

WIDTH, HEIGHT = 434.0, 330.0


def reliability_plot(predictions: Predictions) -> str:
    """Accuracy over confidence in the bins of the calibration error, with Wilson's intervals, and images per bin."""
    found = calibration(predictions.logits, predictions.labels)

    def paint(figure: Figure) -> None:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
        there = found.images > 0
        images, confidence = found.images[there], (found.confidence[there] / found.images[there])
        accuracy = found.correct[there] / images
        bounds = np.array([wilson([share], None, int(n)) for share, n in zip(accuracy, images, strict=True)])
        upper.plot([0, 1], [0, 1], color=LIGHT["muted"], linewidth=1, linestyle=(0, (4, 3)))
        upper.errorbar(
            confidence,
            accuracy,
            # If all images are right, an end may be off by the last bit.
            yerr=np.maximum(np.abs(bounds.T - accuracy), 0),
            color=LIGHT["series-1"],
            marker="o",
            markersize=4,
            elinewidth=1,
            clip_on=False,
        )
        upper.set(xlim=(0, 1), ylim=(0, 1), ylabel="accuracy")
        upper.set_title("Calibration", loc="left", pad=8)
        edges = np.linspace(0, 1, len(found.images) + 1)
        lower.bar(
            edges[:-1], found.images / found.images.sum(), np.diff(edges) * 0.9, align="edge", color=LIGHT["series-1"]
        )
        lower.set(ylabel="images", xlabel="confidence, the highest probability")
        for axis in (upper.yaxis, lower.yaxis, lower.xaxis):
            axis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))

    return draw(WIDTH, HEIGHT, paint)


def calibration_words(found: Calibration) -> str:
    """A sentence that compares mean confidence and accuracy."""
    gap = float((found.confidence.sum() - found.correct.sum()) / found.images.sum())
    if abs(gap) < 0.01:
        return "Mean confidence equals accuracy within 1 point."
    return f"Mean confidence is {100 * abs(gap):.1f} points {'above' if gap > 0 else 'below'} accuracy."
