"""A pool of noise, for timings that images play no part in."""

import torch

from ferbench.data.load.image_set import LabeledImages


def random_pool(count: int, image_size: int, device: torch.device | None = None) -> LabeledImages:
    """Seven classes in turn, each image with one box."""
    labels = torch.arange(count) % 7
    return LabeledImages(
        images=torch.randint(0, 256, (count, image_size, image_size, 3), dtype=torch.uint8).to(device),
        labels=labels.to(device),
        label_probs=torch.nn.functional.one_hot(labels, 7).float().to(device),
        boxes=torch.tensor([[4.0, 4.0, 40.0, 40.0]]).repeat(count, 1).to(device),
    )
