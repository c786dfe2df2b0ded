import io
from contextlib import suppress

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ferbench.errors import VerificationError
from ferbench.records import predictions as module
from ferbench.records.predictions import Predictions, labeled_fingerprint, predictions_digest
from tests.unit.records.factory import make_predictions


def parquet(**columns):
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def logits(rows, width=2):
    return pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(rows * width, np.float16)), width)


def test_predictions_survive_parquet():
    before = make_predictions()
    after = Predictions.from_parquet(before.to_parquet())
    assert after.ids == before.ids
    assert np.array_equal(after.labels, before.labels)
    assert after.logits.dtype == np.float16
    assert np.array_equal(after.logits, before.logits)
    assert after.digest() == before.digest()


def test_the_digest_sees_every_value():
    ids, labels, values = ["a", "b"], np.array([0, 1]), np.zeros((2, 3), np.float16)
    base = predictions_digest(ids, labels, values)
    other = values.copy()
    other[1, 2] = 1
    variations = [
        predictions_digest(["a", "c"], labels, values),
        predictions_digest(ids, np.array([0, 2]), values),
        predictions_digest(ids, labels, other),
        predictions_digest(ids, labels, values.reshape(3, 2)),
        predictions_digest(["b", "a"], labels, values),
    ]
    assert len({base, *variations}) == 6


def test_the_digest_is_one_on_all_machines():
    value = predictions_digest(["a", "é"], np.array([0, 1], np.int32), np.array([[0.5, 1], [2, -3]], np.float16))
    assert value == "cd778cb5217680d2311673fcb57898d49ea62f29c54bfa9b406bc57fe400b14f"
    swapped = np.array([[0.5, 1], [2, -3]], ">f2")
    assert predictions_digest(["a", "é"], np.array([0, 1], ">i8"), swapped) == value


def test_the_labeled_fingerprint_ignores_order():
    assert labeled_fingerprint(["a", "b"], ["fear", "anger"]) == labeled_fingerprint(["b", "a"], ["anger", "fear"])
    assert labeled_fingerprint(["a", "b"], ["fear", "anger"]) != labeled_fingerprint(["a", "b"], ["anger", "fear"])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PAR1",
        b"\x80\x04pickle",
        make_predictions().to_parquet()[:-100],
        parquet(id=["a"], label=[1]),
        parquet(id=["a"], label=[1], logits=logits(1), more=[1]),
        parquet(id=[1], label=[1], logits=logits(1)),
        parquet(id=["a"], label=[0.5], logits=logits(1)),
        parquet(id=["a"], label=[1], logits=[[0.5, 1.0]]),
        parquet(id=["a", None], label=[1, 1], logits=logits(2)),
        parquet(id=["a", "b"], label=[1, None], logits=logits(2)),
    ],
    ids=["empty", "magic", "pickle", "cut", "columns", "more", "int-ids", "float-labels", "lists", "no-id", "no-label"],
)
def test_what_are_no_predictions_is_refused(data):
    with pytest.raises(VerificationError, match="predictions"):
        Predictions.from_parquet(data)


def test_damaged_bytes_end_in_a_verification_error_or_in_predictions():
    data = make_predictions().to_parquet()
    random = np.random.default_rng(0)
    for position in random.integers(0, len(data), 100):
        damaged = bytearray(data)
        damaged[position] ^= 1 << int(random.integers(8))
        with suppress(VerificationError):
            assert len(Predictions.from_parquet(bytes(damaged)).digest()) == 64


@pytest.mark.parametrize(
    "data",
    [
        parquet(id=pa.array([], pa.string()), label=pa.array([], pa.int64()), logits=logits(0)),
        parquet(id=["a"], label=[1], logits=pa.array([[]], pa.list_(pa.float16(), 0))),
    ],
    ids=["no-rows", "no-classes"],
)
def test_predictions_of_nothing_are_refused(data):
    with pytest.raises(VerificationError, match="predictions"):
        Predictions.from_parquet(data)


def test_one_long_text_for_many_rows_is_refused(monkeypatch):
    data = parquet(id=["x" * 1000] * 50, label=[1] * 50, logits=logits(50))
    assert len(data) < 6000
    assert len(Predictions.from_parquet(data).ids) == 50
    monkeypatch.setattr(module, "MAX_UNPACKED_BYTES", 20_000)
    with pytest.raises(VerificationError, match=r"unpack to more than 20,000 bytes"):
        Predictions.from_parquet(data)


def test_a_file_that_unpacks_to_too_much_is_refused(monkeypatch):
    monkeypatch.setattr(module, "MAX_UNPACKED_BYTES", 100)
    with pytest.raises(VerificationError, match="unpack to more than 100 bytes"):
        Predictions.from_parquet(make_predictions().to_parquet())


@pytest.mark.parametrize(
    ("ids", "labels", "values"),
    [
        (["a"], np.array([0, 1]), np.zeros((2, 2), np.float16)),
        (["a"], np.array([0.5]), np.zeros((1, 2), np.float16)),
        (["a"], np.array([0]), np.zeros((1, 2), np.float32)),
        (["a"], np.array([0]), np.zeros(2, np.float16)),
    ],
)
def test_predictions_that_do_not_fit_together(ids, labels, values):
    with pytest.raises(ValueError):
        Predictions(ids, labels, values)
