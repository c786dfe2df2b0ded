"""Readers of anybody's images: folders of classes, manifests, WebDataset shards, Hugging Face datasets."""
