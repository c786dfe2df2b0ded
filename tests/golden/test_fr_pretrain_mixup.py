"""FaceMix's overlap and loss, and the sizes of the labeled sets, against the released code's values."""

from typing import Any

import pytest
import torch

from ferbench.data.select.allocations import proportional_count
from ferbench_fr_pretrain_mixup.facemix import facemix_loss, iou

TOLERANCE = {"rtol": 1e-6, "atol": 1e-6}


def test_the_overlap_of_boxes(golden: dict[str, Any]) -> None:
    values = golden["ssfer_iou"]
    boxes = torch.tensor(values["boxes"], dtype=torch.float32)
    torch.testing.assert_close(iou(boxes, boxes.flip(0)), torch.tensor(values["iou_with_reversed"]), **TOLERANCE)


def test_the_loss(golden: dict[str, Any]) -> None:
    values = golden["ssfer_facemix_loss"]
    mixed, real, overlap = (torch.tensor(values[name]) for name in ("mixed_loss", "origin_loss", "iou"))
    torch.testing.assert_close(facemix_loss(mixed, real, overlap).item(), values["loss"], **TOLERANCE)


@pytest.mark.parametrize("case", range(4))
def test_the_labeled_images_of_each_class(golden: dict[str, Any], case: int) -> None:
    values = golden["ssfer_split_counts"][case]
    counts = [proportional_count(str(values["ratio"]), size) for size in values["class_counts"]]
    assert counts == values["labeled_per_class"]
