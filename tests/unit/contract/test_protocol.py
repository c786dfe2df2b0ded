"""A recipe's views are within their ranges: what augments relies on it."""

from typing import Any

import pytest
from pydantic import ValidationError

from ferbench.contract.protocol import Recipe, StrongView, WeakView

SIZES = {"backbone": "toy", "steps": 20, "labeled_batch": 4, "unlabeled_batch": 4, "learning_rate": 1e-3}


@pytest.mark.parametrize(
    ("view", "options"),
    [
        (WeakView, {"padding": -1}),
        (WeakView, {"padding_share": -0.1}),
        (WeakView, {"padding_share": 0.6}),
        (WeakView, {"crop_probability": 1.1}),
        (WeakView, {"flip_probability": -0.1}),
        (StrongView, {"operations": 0}),
        (StrongView, {"cutout": 1.5}),
    ],
)
def test_views_out_of_range_are_refused(view: type[WeakView | StrongView], options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(options))):
        view(**options)


def test_padding_is_in_pixels_or_a_part_of_the_width() -> None:
    assert WeakView(padding=3).pixels_of_padding(224) == 3
    assert [WeakView(padding=0, padding_share=0.1).pixels_of_padding(width) for width in (16, 48, 224)] == [2, 5, 22]
    assert WeakView(padding=0).pixels_of_padding(224) == 0
    with pytest.raises(ValidationError, match=r"padding 4 and padding_share 0\.1.* 0"):
        WeakView(padding_share=0.1)


def test_images_are_packed_at_the_stored_size_or_that_of_the_net() -> None:
    assert Recipe(image_size=32, **SIZES).packed_size == 32
    assert Recipe(image_size=32, stored_size=20, **SIZES).packed_size == 20
    with pytest.raises(ValidationError, match="stored_size"):
        Recipe(image_size=32, stored_size=4, **SIZES)
    with pytest.raises(ValidationError, match="evaluations"):
        Recipe(image_size=32, evaluations=21, **SIZES)
