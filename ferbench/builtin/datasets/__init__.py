"""Readers for users' own images: folders of classes, manifests, WebDataset shards, Hugging Face datasets."""
