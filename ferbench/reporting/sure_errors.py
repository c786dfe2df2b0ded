"""The wrong predictions with the highest confidence."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import softmax

from ferbench.data.load.image_store import ImageStore
from ferbench.records.predictions import Predictions
from ferbench.reporting.pictures import picture_uri

SHOWN = 20


@dataclass(frozen=True)
class SureError:
    """A wrong prediction: indices of the true and the predicted class, their probabilities, and the picture (data URI).

    `confidence` is the probability of the predicted class, `probability` that of the true class.
    """

    id: str
    label: int
    predicted: int
    confidence: float
    probability: float
    picture: str = ""


def sure_errors(predictions: Predictions, count: int = SHOWN) -> list[SureError]:
    """The wrong predictions with the highest confidence, highest first; ties are ordered by id."""
    ids, labels = predictions.ids, predictions.labels
    shares = softmax(predictions.logits.astype(np.float64), axis=1)
    predicted, confidence = shares.argmax(axis=1), shares.max(axis=1)
    wrong = np.flatnonzero(predicted != labels).tolist()
    surest = sorted(wrong, key=lambda i: (-confidence[i], ids[i]))[:count]
    return [
        SureError(ids[i], int(labels[i]), int(predicted[i]), float(confidence[i]), float(shares[i, labels[i]]))
        for i in surest
    ]


def with_pictures(errors: Sequence[SureError], images: ImageStore) -> list[SureError]:
    """The same errors, with pictures for those that are among the packed images."""
    row_of = {image: row for row, image in enumerate(images.ids)}
    return [
        replace(error, picture=picture_uri(images.images[row_of[error.id]])) if error.id in row_of else error
        for error in errors
    ]
