"""Whether training images that were joined to a set are its test images."""

from ferbench.data.load.image_store import ImageStore
from ferbench.data.prepare.joined import JoinedDataset
from ferbench.errors import DataError, listed


def refuse_test_images(dataset: JoinedDataset, images: ImageStore) -> None:
    """Raises DataError with a list where a training image of a further set is a test image, the same file."""
    own = f"{dataset.parts[0].name}/"
    tests = {images.contents[row]: images.ids[row] for row, split in enumerate(images.splits) if split == "test"}
    found = [
        f"{images.ids[row]} is {tests[content]}"
        for row, content in enumerate(images.contents)
        if content in tests and images.splits[row] == "train" and not images.ids[row].startswith(own)
    ]
    if found:
        raise DataError(
            f"dataset '{images.name}': {len(found)} labeled image(s) that were joined are test images, the same file; "
            f"remove them from their set, or leave it out:{listed(found)}"
        )
