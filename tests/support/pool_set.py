"""A pool of images that a test has in hand."""

import hashlib
from collections.abc import Iterator, Sequence

from ferbench.contract.dataset import Dataset, DatasetInfo, Sample


class PoolSet(Dataset):
    """Encoded images as an unlabeled dataset; `extra` are further samples."""

    needs_root = False

    def __init__(self, images: Sequence[bytes], extra: Sequence[Sample] = (), name: str = "other-faces") -> None:
        super().__init__()
        self.info_, self._samples = DatasetInfo(name, name, "CC0", {}, "", name), list(extra)
        self._samples += [Sample(f"{name}-{i:04d}", image, "unlabeled") for i, image in enumerate(images)]

    @property
    def info(self) -> DatasetInfo:
        return self.info_

    def samples(self) -> Iterator[Sample]:
        return iter(self._samples)

    def source_digest(self) -> str:
        digest = hashlib.sha256()
        for sample in self._samples:
            assert isinstance(sample.image, bytes)
            digest.update(sample.image)
        return digest.hexdigest()
