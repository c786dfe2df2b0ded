"""Refuse joined training images that are test images."""

from ferbench.data.load.image_store import ImageStore
from ferbench.data.prepare.joined import JoinedDataset
from ferbench.errors import DataError, listed


def refuse_test_images(dataset: JoinedDataset, images: ImageStore) -> None:
    """Raises DataError with a list if a training image of a joined dataset is the same file as a test image."""
    own = f"{dataset.parts[0].name}/"
    tests = {images.contents[row]: images.ids[row] for row, split in enumerate(images.splits) if split == "test"}
    found = [
        f"{images.ids[row]} is {tests[content]}"
        for row, content in enumerate(images.contents)
        if content in tests and images.splits[row] == "train" and not images.ids[row].startswith(own)
    ]
    if found:
        raise DataError(
            f"dataset '{images.name}': {len(found)} joined labeled image(s) are the same files as test images; "
            f"remove them from their dataset, or omit that dataset:{listed(found)}"
        )
