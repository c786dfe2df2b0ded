"""Batched, per-image augmentations on uint8 images, equal to PIL's operations image by image."""
