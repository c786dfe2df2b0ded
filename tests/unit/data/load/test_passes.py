"""A pass over a pool gives every image once, in order, a stream's as its workers would give it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ferbench.conformance.toy_task import toy_images
from ferbench.data.load.passes import in_order
from ferbench.data.load.stream import Stream
from ferbench.data.prepare.stream_index import ensure_index
from ferbench.readers.open_stream import open_stream
from tests.support.archives import describe, face, png, write_tar


@pytest.mark.process
def test_a_stream_behind_a_packed_pool_is_read_in_order(tmp_path: Path) -> None:
    folder = describe(tmp_path / "crowd", "webdataset")
    write_tar(folder / "0.tar", [png(face(i)) for i in range(10)])
    index, packed = ensure_index(open_stream(folder), 16), toy_images(2, 9)
    pool = Stream(index, np.arange(10), torch.device("cpu"), packed)
    parts = list(in_order(pool, 7))
    assert [len(part.index) for part in parts] == [7, 7, 2]
    assert torch.cat([part.index for part in parts]).tolist() == list(range(16))
    images = torch.cat([part.images for part in parts])
    assert torch.equal(images[:6], packed.images)
    assert torch.equal(images[6:], torch.from_numpy(index.reader.images(np.arange(10))))
    assert torch.equal(torch.cat([part.boxes for part in parts])[:6], packed.boxes)

    numbers = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    mixed = list(in_order(replace(pool, numbers=numbers), 7))
    index_, images_ = (torch.cat([getattr(part, name) for part in mixed]) for name in ("index", "images"))
    assert sorted(index_.tolist()) == list(range(16))
    assert index_[:6].tolist() == sorted(index_[:6].tolist()), "in memory in the order of their numbers"
    for number, image in zip(index_.tolist(), images_, strict=True):
        assert torch.equal(image, images[int((numbers == number).nonzero())])
