"""A recipe's views are within their ranges: what augments relies on it."""

from typing import Any

import pytest
from pydantic import ValidationError

from ferbench.contract.protocol import StrongView, WeakView


@pytest.mark.parametrize(
    ("view", "options"),
    [
        (WeakView, {"padding": -1}),
        (WeakView, {"crop_probability": 1.1}),
        (WeakView, {"flip_probability": -0.1}),
        (StrongView, {"operations": 0}),
        (StrongView, {"cutout": 1.5}),
    ],
)
def test_views_out_of_range_are_refused(view: type[WeakView | StrongView], options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(options))):
        view(**options)
