"""Whether recomputed predictions are the recorded ones, and what a private render leaves behind: nothing."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ferbench.contract.dataset import Sample
from ferbench.errors import UsageError, VerificationError
from ferbench.execution.re_evaluation import agreement, models_below, private_renders, secret_seed
from ferbench.readers.parquet import ParquetDataset
from ferbench.records.predictions import Predictions
from tests.support.pattern_set import write_pattern_set

IDS = [f"test/{number}" for number in range(2000)]
LABELS = np.zeros(2000, np.int64)


def said(logits: NDArray[np.float64], ids: list[str] = IDS) -> Predictions:
    return Predictions(ids, LABELS, logits.astype(np.float16))


def recorded() -> NDArray[np.float64]:
    """Logits of two classes, far from a tie."""
    return np.stack([np.full(2000, 8.0), np.full(2000, -8.0)], axis=1)


def test_steps_of_float16_are_the_same_prediction() -> None:
    # between 8 and 16 float16 has steps of 1/128
    found = agreement(said(recorded() + 1 / 128), said(recorded()))
    assert found.largest_difference == pytest.approx(1 / 128)
    assert found.other_classes == 0


@pytest.mark.parametrize("value", [8.05, -8.0, np.nan, np.inf])
def test_one_other_logit_is_another_prediction(value: float) -> None:
    logits = recorded()
    logits[7, 0] = value
    for now, before in ((logits, recorded()), (recorded(), logits)):
        with pytest.raises(VerificationError, match="other logits for 1 of 2000"):
            agreement(said(now), said(before))


def test_ties_may_fall_otherwise_for_one_image_in_a_thousand() -> None:
    logits, other = recorded(), recorded()
    for number, holds in ((2, True), (3, False)):
        logits[:number] = [1.0, 1.001]
        other[:number] = [1.001, 1.0]
        if holds:
            assert agreement(said(other), said(logits)).other_classes == number
            continue
        with pytest.raises(VerificationError, match="another class for 3 of 2000"):
            agreement(said(other), said(logits))


def test_other_images_and_other_classes_do_not_compare() -> None:
    with pytest.raises(VerificationError, match="test images"):
        agreement(said(recorded(), IDS[::-1]), said(recorded()))
    with pytest.raises(VerificationError, match="3 classes"):
        agreement(said(np.zeros((2000, 3))), said(recorded()))


def test_models_are_found_by_their_content_and_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "any name.safetensors").write_bytes(b"one")
    (tmp_path / "model.pt").write_bytes(b"two")
    (tmp_path / "link.safetensors").symlink_to(tmp_path / "model.pt")
    assert list(models_below(tmp_path).values()) == [tmp_path / "a" / "any name.safetensors"]


class Drawn(ParquetDataset):
    """A set whose test split can be drawn anew."""

    def redrawn_test(self, seed: int) -> Iterator[Sample]:
        assert self.root is not None
        other = write_pattern_set(self.root.parent / "drawn", name=self.info.name, n_test=60, seed=seed)
        return (sample for sample in ParquetDataset(other).samples() if sample.split == "test")


def test_a_render_is_packed_in_a_place_of_its_own_and_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FERBENCH_CACHE", str(tmp_path / "cache"))
    dataset = Drawn(write_pattern_set(tmp_path / "patterns"))
    seed = 2**127 + 12345
    with private_renders(seed) as renders:
        store = renders.of(dataset, 16)
        assert store is not None
        assert store.splits == ["test"] * 60
        assert store.images.shape == (60, 16, 16, 3)
        small = renders.of(dataset, 8)
        assert small is not None and small.images.shape == (60, 8, 8, 3)
        assert renders.of(ParquetDataset(write_pattern_set(tmp_path / "own", name="own")), 16) is None
        assert str(seed) not in repr(renders)
        folder = renders.folder
    assert not folder.exists()
    assert not (tmp_path / "cache").exists()


def test_a_seed_is_read_from_a_file_else_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert secret_seed(None) is None
    monkeypatch.setenv("FERBENCH_PRIVATE_SEED", "0" * 31 + "a")
    (tmp_path / "seed").write_text(f" {'F' * 32}\n")
    assert secret_seed(tmp_path / "seed") == 2**128 - 1
    assert "FERBENCH_PRIVATE_SEED" not in os.environ
    monkeypatch.setenv("FERBENCH_PRIVATE_SEED", "0" * 31 + "a")
    assert secret_seed(None) == 10
    monkeypatch.setenv("FERBENCH_PRIVATE_SEED", "0x" + "1" * 30)
    with pytest.raises(UsageError, match="FERBENCH_PRIVATE_SEED: not 32"):
        secret_seed(None)
